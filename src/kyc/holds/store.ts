import { type SQL, sql } from "drizzle-orm";
import { batched } from "../../db/batch.ts";
import type { Executor } from "../../db/client.ts";
import { epochMillis, toTimestamptz } from "../../db/schema.ts";
import { statement } from "../../db/statement.ts";
import { AppError } from "../../errors.ts";

const given = sql.placeholder;

/** A legal hold. While it is in force, nothing that it is on can be deleted. Times are in epoch milliseconds. */
export interface LegalHold {
  id: string;
  /** Null: it is on the customer. */
  kycId: string | null;
  /** Null: it is on a record, or has ended. */
  customerId: string | null;
  /** Null: it was erased together with the customer. */
  reason: string | null;
  placedAt: number;
  /** Null: it holds until it is released. */
  until: number | null;
  releasedAt: number | null;
  releaseReason: string | null;
  isInForce: boolean;
}

/** Whether a hold is in force, by the database's clock. */
export const inForce = sql.raw("(released_at is null and (until is null or until > clock_timestamp()))");

/** The SQL of each field of a hold. */
export const holdFields = {
  id: sql`id`,
  kycId: sql`kyc_id`,
  customerId: sql`case when ${inForce} then customer_id end`,
  reason: sql`reason`,
  placedAt: epochMillis(sql`placed_at`),
  until: epochMillis(sql`until`),
  releasedAt: epochMillis(sql`released_at`),
  releaseReason: sql`release_reason`,
  isInForce: inForce,
} satisfies Record<keyof LegalHold, SQL>;
const FIELDS = Object.keys(holdFields);
const holdColumns = sql.join(Object.values(holdFields), sql`, `);

/** Makes a hold from the values of its fields, in their order. Further values are ignored. */
export function toHold(row: unknown[]): LegalHold {
  return Object.fromEntries(FIELDS.map((field, index) => [field, row[index]])) as unknown as LegalHold;
}

/** The number of the advisory lock that a hold on a customer and the deletion of its records exclude each other with. */
export const customerLock = (account: SQL, customer: SQL) =>
  sql`hashtextextended(${account} || E'\\n' || ${customer}, 0)`;

const lockAlone = statement(
  () =>
    sql`select pg_advisory_xact_lock(${customerLock(
      sql`${given("accountId")}::text`,
      sql`${given("customerId")}::text`,
    )})`,
  () => true,
);

/** Until the transaction ends, no other one deletes records of this customer, or has done so without being committed. */
export async function excludeDeletions(tx: Executor, accountId: string, customerId: string): Promise<void> {
  await lockAlone(tx, { accountId, customerId });
}

/** A hold that is placed now. */
export interface NewHold extends Pick<LegalHold, "id" | "kycId" | "customerId" | "until"> {
  accountId: string;
  customerDigest: Buffer;
  reason: string;
}

const insert = statement(
  () => sql`
    insert into legal_holds (account_id, id, kyc_id, customer_id, customer_digest, reason, placed_at, until)
    select ${given("accountId")}, ${given("id")}, ${given("kycId")}::text, ${given("customerId")}::text,
      decode(${given("digest")}::text, 'hex'), ${given("reason")}, clock_timestamp(), ${given("until")}::timestamptz
    where ${given("until")}::timestamptz is null or ${given("until")}::timestamptz > clock_timestamp()
    returning ${holdColumns}`,
  toHold,
);

/** Inserts a hold. Undefined, and nothing is written, if its end is not in the future by the database's clock. */
export async function insertHold(tx: Executor, hold: NewHold): Promise<LegalHold | undefined> {
  const { customerDigest, until, ...values } = hold;
  const [placed] = await insert(tx, {
    ...values,
    digest: customerDigest.toString("hex"),
    until: until === null ? null : toTimestamptz(until),
  });
  return placed;
}

const release = statement(
  () => sql`
    update legal_holds set released_at = clock_timestamp(), release_reason = ${given("reason")}, customer_id = null
    where account_id = ${given("accountId")} and id = ${given("id")} and released_at is null
    returning ${holdColumns}`,
  toHold,
);

/** Releases a hold. Undefined if it has been released before, or there is none. */
export async function releaseStored(
  tx: Executor,
  accountId: string,
  id: string,
  reason: string,
): Promise<LegalHold | undefined> {
  return (await release(tx, { accountId, id, reason }))[0];
}

const selectOne = statement(
  () => sql`
    select ${holdColumns}, encode(customer_digest, 'hex') from legal_holds
    where account_id = ${given("accountId")} and id = ${given("id")}`,
  (row: unknown[]) => ({ ...toHold(row), customerDigest: Buffer.from(row[9] as string, "hex") }),
);

/** The account's hold with this id, and the digest of its customer. */
export async function findHold(
  db: Executor,
  accountId: string,
  id: string,
): Promise<(LegalHold & { customerDigest: Buffer }) | undefined> {
  return (await selectOne(db, { accountId, id }))[0];
}

/** A record, with the digest of its customer. */
export interface HeldRecord {
  id: string;
  customerDigest: Buffer;
}

// Two ranges of indexes, of holds that are few.
const selectOn = statement(
  () => sql`
    select ${holdColumns}, encode(customer_digest, 'hex') from legal_holds
    where account_id = ${given("accountId")} and kyc_id = any(${given("ids")}::text[]) and ${inForce}
    union all
    select ${holdColumns}, encode(customer_digest, 'hex') from legal_holds
    where account_id = ${given("accountId")} and kyc_id is null and ${inForce} and customer_digest in (
      select decode(digest, 'hex') from unnest(${given("digests")}::text[]) as wanted(digest))
    order by 1 desc`,
  (row: unknown[]) => ({ hold: toHold(row), digest: row[9] as string }),
);

async function selectHoldsOn(db: Executor, accountId: string, records: readonly HeldRecord[]) {
  const digests = [...new Set(records.map(({ customerDigest }) => customerDigest.toString("hex")))];
  return selectOn(db, { accountId, ids: records.map(({ id }) => id), digests });
}

/** The holds in force on these records or on their customers, newest first. */
export async function findHoldsOn(
  tx: Executor,
  accountId: string,
  records: readonly HeldRecord[],
): Promise<LegalHold[]> {
  return (await selectHoldsOn(tx, accountId, records)).map(({ hold }) => hold);
}

/** The same for each record. Records that are asked for together share a statement. */
export const findHoldsOf = batched<HeldRecord & { accountId: string }, LegalHold[]>(
  ({ accountId }) => accountId,
  ({ id }) => id,
  async (db, keys) => {
    const found = await selectHoldsOn(db, keys[0].accountId, keys);
    return keys.map((key) => found.filter((one) => isOn(one, key)).map(({ hold }) => hold));
  },
);

const isOn = (
  { hold, digest }: { hold: LegalHold; digest: string },
  { id, customerDigest }: HeldRecord,
): boolean => (hold.kycId === null ? digest === customerDigest.toString("hex") : hold.kycId === id);

/** Those of the records that are not held. It stays so until the transaction ends if it has locked them for deletion. */
export async function withoutHeld<Item extends HeldRecord>(
  db: Executor,
  accountId: string,
  records: readonly Item[],
): Promise<Item[]> {
  if (records.length === 0) return [];
  const found = await selectHoldsOn(db, accountId, records);
  return records.filter((record) => !found.some((one) => isOn(one, record)));
}

/** Fails with LEGAL_HOLD if one of these records is held. The transaction has locked them for deletion. */
export async function requireUnheld(
  tx: Executor,
  accountId: string,
  records: readonly HeldRecord[],
): Promise<void> {
  const [found] = await selectHoldsOn(tx, accountId, records);
  if (found) throw legalHold(found.hold.id);
}

/** The error for a deletion that a hold forbids. */
export function legalHold(holdId: string): AppError {
  const message = `Nothing was deleted: the legal hold ${holdId} forbids it until it ends or is released.`;
  return new AppError("LEGAL_HOLD", message, { holdId });
}

const forget = statement(
  () => sql`
    update legal_holds set customer_id = null
    where account_id = ${given("accountId")} and customer_id = any(${given("customerIds")}::text[]) and not ${inForce}`,
);
/** Removes the ids of these customers from holds that have ended without being released. */
export async function forgetCustomers(
  tx: Executor,
  accountId: string,
  customerIds: readonly string[],
): Promise<void> {
  await forget(tx, { accountId, customerIds });
}
