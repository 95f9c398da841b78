import { and, eq, sql } from "drizzle-orm";
import type { NewAuditEvent } from "../../audit/event.ts";
import { eventValues, writingEvents, writingEventsAbout } from "../../audit/store.ts";
import { batched } from "../../db/batch.ts";
import type { Database, Executor } from "../../db/client.ts";
import { kycs, toTimestamptz } from "../../db/schema.ts";
import { statement, withFirst } from "../../db/statement.ts";
import {
  type Claim,
  type ClaimFinding,
  claimingKeys,
  claimValues,
  selectFindings,
  toFinding,
} from "../../idempotency/store.ts";
import { CHANGEABLE_PLAIN, FIELDS, PLAIN, type PlainName, type PlainValues } from "../fields.ts";
import type { Kyc, SealedNumber } from "../record.ts";
import {
  columnsOf,
  listsOf,
  NO_STEP,
  NUMBER_COLUMNS,
  newRows,
  typedValue,
  type Written,
} from "./written-columns.ts";

const given = sql.placeholder;

/** A new record with its sealed number. */
export type NewKyc = Kyc & SealedNumber;

const insertMany = statement((db) => withFirst(writingEvents, db.insert(kycs).select(newRows())));

/** A new record and the event of its creation. */
export interface NewEntry {
  accountId: string;
  kyc: NewKyc;
  event: NewAuditEvent;
}

/** The values of an account's new records and their events. */
function toLists(entries: readonly [NewEntry, ...NewEntry[]]): Record<string, unknown> {
  const values: Record<string, unknown> = eventValues(entries.map(({ event }) => event));
  values.accountId = entries[0].accountId;
  for (const name of PLAIN) values[name] = entries.map(({ kyc }) => plainValue(kyc, name));
  for (const name of NUMBER_COLUMNS) values[name] = entries.map(({ kyc }) => kyc[name]);
  return values;
}

function plainValue(kyc: PlainValues, name: PlainName): string | number | null {
  const value = kyc[name];
  return FIELDS[name].kind === "time" && value !== null ? toTimestamptz(value as number) : value;
}

const insertOne = batched<NewEntry, void>(
  ({ accountId }) => accountId,
  ({ kyc }) => kyc.id,
  async (db, keys) => {
    await insertMany(db, toLists(keys));
    return [];
  },
);

/**
 * Inserts a record together with its event. Records that are inserted at the same time share one statement; if it fails, each
 * is inserted separately. Fails with SQLSTATE 23505 if the account already has a record with this id.
 */
export function insertKyc(db: Database, accountId: string, kyc: NewKyc, event: NewAuditEvent): Promise<void> {
  return insertOne(db, { accountId, kyc, event });
}

/**
 * Inserts records together with their events, in one statement, as a part of the transaction. Fails with SQLSTATE 23505 if
 * the account already has a record with one of the ids.
 */
export async function insertKycs(
  tx: Executor,
  accountId: string,
  creations: readonly { kyc: NewKyc; event: NewAuditEvent }[],
): Promise<void> {
  const [first, ...others] = creations.map((creation) => ({ accountId, ...creation }));
  if (first) await insertMany(tx, toLists([first, ...others]));
}

const insertClaimed = statement((db) => {
  const insert = db.insert(kycs).select(sql`${newRows()} where id in (select kyc_id from claimed)`);
  const events = writingEventsAbout(sql`select kyc_id from claimed`);
  return withFirst(sql`${claimingKeys}, written as (${insert.getSQL()}), ${events}`, selectFindings);
}, toFinding);

const insertOneOnce = batched<NewEntry & { claim: Claim }, ClaimFinding>(
  ({ accountId }) => accountId,
  ({ claim }) => claim.keyHash,
  (db, keys) => {
    const [{ accountId }] = keys;
    const claims = keys.map(({ claim }) => claim);
    return insertClaimed(db, { ...toLists(keys), ...claimValues(accountId, claims) });
  },
);

/**
 * Claims the key and, if that succeeds, inserts the record and its event in the same statement. Records are grouped and fail
 * as in `insertKyc`. Of two records with the same key that are sent together, one is written.
 */
export function insertKycOnce(
  db: Database,
  accountId: string,
  kyc: NewKyc,
  event: NewAuditEvent,
  claim: Claim,
): Promise<ClaimFinding> {
  return insertOneOnce(db, { accountId, kyc, event, claim });
}

/** A change to a record as it was read. */
export interface KycChange {
  /** The record after the change. Its version is the one that was read, plus one. */
  kyc: Kyc;
  /** The new sealed number; undefined if the stored one stays. */
  number: SealedNumber | undefined;
  event: NewAuditEvent;
}

const CHANGED: readonly Written[] = [
  "id",
  ...CHANGEABLE_PLAIN,
  ...NUMBER_COLUMNS,
  "updatedAt",
  "statusSince",
  "version",
];

function changedValue({ kyc, number }: KycChange, name: Written): string | number | null {
  if (name === "sealedNumber" || name === "numberDigest" || name === "sealedVersion") {
    return number ? number[name] : null;
  }
  return plainValue(kyc, name);
}

const updateMany = statement(
  (db) => {
    const since = typedValue("statusSince", "held.");
    const getsAnotherStatus = sql`${kycs.verificationStatus} <> ${typedValue("verificationStatus", "held.")}`;
    const changing = db
      .update(kycs)
      .set({
        ...Object.fromEntries(CHANGEABLE_PLAIN.map((name) => [name, typedValue(name, "held.")])),
        // Don't write a number that stays: a key rotation may have sealed it again since it was read.
        documentNumber: sql`case when held.sealed_number is null then ${kycs.documentNumber} end`,
        sealedNumber: sql`coalesce(held.sealed_number, ${kycs.sealedNumber})`,
        numberDigest: sql`coalesce(held.number_digest, ${kycs.numberDigest})`,
        updatedAt: sql`held.updated_at::timestamptz`,
        // A time that the background job has found since the record was read stays, too.
        statusSince: sql`case when ${getsAnotherStatus} then ${since} else coalesce(${kycs.statusSince}, ${since}) end`,
        // If it was not known since when the record has its status, it still is not, unless it gets another one now.
        statusSinceVersion: sql`case when ${kycs.statusSinceVersion} = ${kycs.version} or ${getsAnotherStatus}
          then held.version else ${kycs.statusSinceVersion} end`,
        // No step towards the new time of expiry was done yet.
        expiryStep: sql`case when ${kycs.expiresAt} is distinct from ${typedValue("expiresAt", "held.")} then ${NO_STEP}
          else ${kycs.expiryStep} end`,
        version: sql`held.version`,
        sealedVersion: sql`held.sealed_version`,
      })
      .from(sql`held`)
      .where(and(eq(kycs.accountId, given("accountId")), sql`${kycs.id} = held.id`))
      .returning({ id: kycs.id });
    const events = writingEventsAbout(sql`select id from changed`);
    return sql`
      with held as (
        select wanted.* from unnest(${listsOf(CHANGED)}) as wanted(${columnsOf(CHANGED)})
        join kycs stored on stored.account_id = ${given("accountId")} and stored.id = wanted.id
          and stored.version = wanted.version - 1
          -- A number that was bound to its version since it was read must be sealed again for the new one.
          and (wanted.sealed_number is not null or stored.sealed_version is null)
        -- Skips records that another transaction has locked: the caller reads them again.
        for update of stored skip locked
      ),
      changed as (${changing.getSQL()}), ${events} select id from changed`;
  },
  ([id]: [string]) => id,
);

/**
 * Writes the changeable fields of records, with a new number if there is one, and the events, in one statement: of records that
 * still have the previous version and are not locked by others. Returns the ids of those that were written.
 */
export function updateKycsAtVersion(
  db: Executor,
  accountId: string,
  changes: readonly KycChange[],
): Promise<string[]> {
  const values: Record<string, unknown> = eventValues(changes.map(({ event }) => event));
  values.accountId = accountId;
  for (const name of CHANGED) values[name] = changes.map((change) => changedValue(change, name));
  return updateMany(db, values);
}

/** Writes the changeable fields of a record that the transaction has locked, a new number if there is one, and the event. */
export async function updateLockedKyc(tx: Executor, accountId: string, change: KycChange): Promise<void> {
  await updateKycsAtVersion(tx, accountId, [change]);
}

const updateOne = batched<{ accountId: string; change: KycChange }, boolean>(
  ({ accountId }) => accountId,
  (entry) => entry,
  async (db, entries) => {
    // Of several changes to one record, only one can find the record as it was read.
    const firsts = new Map<string, KycChange>();
    for (const { change } of entries) if (!firsts.has(change.kyc.id)) firsts.set(change.kyc.id, change);
    const changed = new Set(await updateKycsAtVersion(db, entries[0].accountId, [...firsts.values()]));
    return entries.map(({ change }) => firsts.get(change.kyc.id) === change && changed.has(change.kyc.id));
  },
);

/**
 * Writes the changeable fields of a record, a new number if there is one, and the event, provided that the record still has
 * the previous version and is not locked. Otherwise it returns false, and nothing has changed. Changes are grouped and fail
 * as records in `insertKyc`.
 */
export function updateKycAtVersion(db: Database, accountId: string, change: KycChange): Promise<boolean> {
  return updateOne(db, { accountId, change });
}
