import { and, eq, sql } from "drizzle-orm";
import type { NewAuditEvent } from "../audit/event.ts";
import { eventValues, writingEvents, writingEventsAbout } from "../audit/store.ts";
import { batched } from "../db/batch.ts";
import type { Database, Executor } from "../db/client.ts";
import { deletedKycs, epochMillis, kycs, toTimestamptz } from "../db/schema.ts";
import { statement, withFirst } from "../db/statement.ts";
import {
  type Claim,
  claimingKeys,
  claimValues,
  type Finding,
  selectFindings,
  spendingKeys,
  toFinding,
} from "../idempotency/store.ts";
import type { Position } from "./cursor.ts";
import type { DocumentType, Kyc, SealedNumber, VerificationStatus } from "./kyc.ts";

/** A record as statements read it; `toKyc` takes the values in this order. */
export const columns = {
  id: kycs.id,
  customerId: kycs.customerId,
  verificationStatus: kycs.verificationStatus,
  documentType: kycs.documentType,
  sealedNumber: kycs.sealedNumber,
  plainNumber: kycs.documentNumber,
  createdAt: epochMillis(kycs.createdAt).as("created_millis"),
  updatedAt: epochMillis(kycs.updatedAt).as("updated_millis"),
  version: kycs.version,
};
const given = sql.placeholder;
const isRecord = and(eq(kycs.accountId, given("accountId")), eq(kycs.id, given("id")));

/** What `columns` hold, and what a statement may read behind them. */
export type KycRow = [
  id: string,
  customerId: string,
  verificationStatus: VerificationStatus,
  documentType: DocumentType,
  sealedNumber: string | null,
  plainNumber: string | null,
  createdAt: number,
  updatedAt: number,
  version: number,
  ...more: unknown[],
];

class ReadKyc implements Kyc {
  readonly id: string;
  readonly customerId: string;
  readonly verificationStatus: VerificationStatus;
  readonly documentType: DocumentType;
  readonly sealedNumber: string | null;
  readonly plainNumber: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly version: number;
  #number: string | undefined;

  constructor(row: KycRow) {
    this.id = row[0];
    this.customerId = row[1];
    this.verificationStatus = row[2];
    this.documentType = row[3];
    this.sealedNumber = row[4];
    this.plainNumber = row[5];
    this.createdAt = row[6];
    this.updatedAt = row[7];
    this.version = row[8];
  }

  openOnce(open: () => string): string {
    this.#number ??= open();
    return this.#number;
  }
}

export function toKyc(row: KycRow): Kyc {
  return new ReadKyc(row);
}

const selectByIds = statement(
  (db) =>
    db
      .select(columns)
      .from(kycs)
      .where(and(eq(kycs.accountId, given("accountId")), sql`${kycs.id} = any(${given("ids")}::text[])`)),
  toKyc,
);

/** Those of the records that the account has, in no order. */
export function findKycs(db: Executor, accountId: string, ids: string[]): Promise<Kyc[]> {
  return selectByIds(db, { accountId, ids });
}

const findOne = batched<{ accountId: string; id: string }, Kyc | undefined>(
  ({ accountId }) => accountId,
  ({ id }) => id,
  async (db, keys) => {
    const ids = keys.map(({ id }) => id);
    const found = await selectByIds(db, { accountId: keys[0].accountId, ids });
    const byId = new Map(found.map((kyc) => [kyc.id, kyc]));
    return ids.map((id) => byId.get(id));
  },
);

/** The record, if the account has it. */
export function findKyc(db: Database, accountId: string, id: string): Promise<Kyc | undefined> {
  return findOne(db, { accountId, id });
}

const selectForUpdate = statement((db) => db.select(columns).from(kycs).where(isRecord).for("update"), toKyc);

/** The record as it stands now, locked until the transaction ends. */
export async function lockKyc(tx: Executor, accountId: string, id: string): Promise<Kyc | undefined> {
  return (await selectForUpdate(tx, { accountId, id }))[0];
}

/** A record that is to be: its number is sealed. */
export type NewKyc = Kyc & SealedNumber;

const INSERTED = [
  "id",
  "customerId",
  "verificationStatus",
  "documentType",
  "sealedNumber",
  "numberDigest",
  "createdAt",
  "updatedAt",
  "version",
] as const satisfies (keyof NewKyc)[];

/** Rows of `kycs` out of lists, one for each column. */
const newRows = () => {
  const lists = sql.join(
    INSERTED.map((name) => sql`${given(name)}::${sql.raw(name === "version" ? "int" : "text")}[]`),
    sql`, `,
  );
  return sql`
    select ${given("accountId")}, id, customer_id, verification_status::verification_status,
      document_type::document_type, null, sealed_number, number_digest, created_at::timestamptz,
      updated_at::timestamptz, version
    from unnest(${lists}) as new(id, customer_id, verification_status, document_type, sealed_number, number_digest,
      created_at, updated_at, version)`;
};

const insertMany = statement((db) => withFirst(writingEvents, db.insert(kycs).select(newRows())));

interface NewEntry {
  accountId: string;
  kyc: NewKyc;
  event: NewAuditEvent;
}

/** The values of an account's new records and their events. */
function toLists(entries: readonly [NewEntry, ...NewEntry[]]): Record<string, unknown> {
  const values: Record<string, unknown> = eventValues(entries.map(({ event }) => event));
  values.accountId = entries[0].accountId;
  for (const name of INSERTED) values[name] = entries.map(({ kyc }) => insertedValue(kyc, name));
  return values;
}

function insertedValue(kyc: NewKyc, name: (typeof INSERTED)[number]): string | number {
  return name === "createdAt" || name === "updatedAt" ? toTimestamptz(kyc[name]) : kyc[name];
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
 * Afterwards the account has the record, and the trail its event. Records of one moment go in together, and all or
 * none of them: where they can't, each goes in alone. Fails with SQLSTATE 23505 where the account has a record with this id already.
 */
export function insertKyc(db: Database, accountId: string, kyc: NewKyc, event: NewAuditEvent): Promise<void> {
  return insertOne(db, { accountId, kyc, event });
}

const insertClaimed = statement((db) => {
  const insert = db.insert(kycs).select(sql`${newRows()} where id in (select kyc_id from claimed)`);
  const events = writingEventsAbout(sql`select kyc_id from claimed`);
  return withFirst(sql`${claimingKeys}, written as (${insert.getSQL()}), ${events}`, selectFindings);
}, toFinding);

const insertOneOnce = batched<NewEntry & { claim: Claim }, Finding>(
  ({ accountId }) => accountId,
  ({ claim }) => claim.keyHash,
  (db, keys) => {
    const [{ accountId, kyc }] = keys;
    const claims = keys.map(({ claim }) => claim);
    return insertClaimed(db, { ...toLists(keys), ...claimValues(accountId, claims, kyc.createdAt) });
  },
);

/**
 * Afterwards the account has the record and its event where the key was claimed for it, and all three are stored
 * together. Records are grouped and fail as those of `insertKyc`; of two with one key that are sent together one is
 * written.
 */
export function insertKycOnce(
  db: Database,
  accountId: string,
  kyc: NewKyc,
  event: NewAuditEvent,
  claim: Claim,
): Promise<Finding> {
  return insertOneOnce(db, { accountId, kyc, event, claim });
}

const update = statement(
  (db) => {
    const changing = db
      .update(kycs)
      .set({
        verificationStatus: sql`${given("verificationStatus")}`,
        documentType: sql`${given("documentType")}`,
        // A number that stays is left as it is now: it may have been sealed anew since it was read.
        documentNumber: sql`case when ${given("sealedNumber")}::text is null then ${kycs.documentNumber} end`,
        sealedNumber: sql`coalesce(${given("sealedNumber")}::text, ${kycs.sealedNumber})`,
        numberDigest: sql`coalesce(${given("numberDigest")}::text, ${kycs.numberDigest})`,
        updatedAt: sql`${given("updatedAt")}`,
        version: sql`${given("version")}`,
      })
      .where(and(isRecord, sql`${kycs.version} = ${given("version")}::int - 1`))
      .returning({ id: kycs.id });
    const events = writingEventsAbout(sql`select id from changed`);
    return sql`with changed as (${changing.getSQL()}), ${events} select id from changed`;
  },
  ([id]: [string]) => id,
);

/**
 * Writes what can change of a record, its number where there is a new one, and the event of the change, where the
 * record still is at the version before. Where it is not, false: nothing has happened.
 */
export async function updateKyc(
  db: Executor,
  accountId: string,
  kyc: Kyc,
  number: SealedNumber | undefined,
  event: NewAuditEvent,
): Promise<boolean> {
  const values = {
    ...eventValues([event]),
    accountId,
    id: kyc.id,
    verificationStatus: kyc.verificationStatus,
    documentType: kyc.documentType,
    sealedNumber: number ? number.sealedNumber : null,
    numberDigest: number ? number.numberDigest : null,
    updatedAt: toTimestamptz(kyc.updatedAt),
    version: kyc.version,
  };
  return (await update(db, values)).length > 0;
}

const remove = statement((db) => {
  const keeping = db
    .insert(deletedKycs)
    .values({ accountId: given("accountId"), id: given("id"), createdAt: given("createdAt") });
  const removing = db.delete(kycs).where(isRecord);
  return withFirst(sql`${writingEvents}, place as (${keeping.getSQL()}), ${spendingKeys}`, removing);
});

/**
 * Removes a record that the transaction holds locked, and all that the ledger of idempotency keys holds of it; keeps
 * its place in the list, and writes the event.
 */
export async function deleteKyc(
  tx: Executor,
  accountId: string,
  kyc: Kyc,
  event: NewAuditEvent,
): Promise<void> {
  const place = { accountId, id: kyc.id, createdAt: toTimestamptz(kyc.createdAt) };
  await remove(tx, { ...place, ...eventValues([event]) });
}

const selectPosition = statement((db) => {
  const living = db
    .select({ id: kycs.id, createdAt: epochMillis(kycs.createdAt).as("created_at") })
    .from(kycs)
    .where(isRecord);
  const deleted = db
    .select({ id: deletedKycs.id, createdAt: epochMillis(deletedKycs.createdAt).as("created_at") })
    .from(deletedKycs)
    .where(and(eq(deletedKycs.accountId, given("accountId")), eq(deletedKycs.id, given("id"))));
  return living.unionAll(deleted);
}, toPosition);

function toPosition([id, createdAt]: [string, number]): Position {
  return { id, createdAt };
}

/** Where the record stands, or stood before it was deleted, in the account's list. */
export async function findPosition(
  db: Executor,
  accountId: string,
  id: string,
): Promise<Position | undefined> {
  return (await selectPosition(db, { accountId, id }))[0];
}
