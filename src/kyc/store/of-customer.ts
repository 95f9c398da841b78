import { and, eq, sql } from "drizzle-orm";
import type { Executor } from "../../db/client.ts";
import { kycs } from "../../db/schema.ts";
import { statement } from "../../db/statement.ts";
import { customerLock } from "../holds/store.ts";
import type { Kyc } from "../record.ts";
import { columns, toKyc } from "./read.ts";

const given = sql.placeholder;
const ofCustomer = and(eq(kycs.accountId, given("accountId")), eq(kycs.customerId, given("customerId")));
const limit = sql`${given("limit")}::int`;

const selectSome = statement(
  (db) =>
    sql`${db.select(columns).from(kycs).where(ofCustomer).orderBy(kycs.createdAt, kycs.id).getSQL()} limit ${limit}`,
  toKyc,
);

/** Up to `most` records of the customer, oldest first. */
export function findSomeOfCustomer(
  db: Executor,
  accountId: string,
  customerId: string,
  most: number,
): Promise<Kyc[]> {
  return selectSome(db, { accountId, customerId, limit: most });
}

const selectWithout = statement(
  () => sql`
    select customer_id from unnest(${given("customerIds")}::text[]) as customer (customer_id)
    where not exists (
      select from kycs where kycs.account_id = ${given("accountId")} and kycs.customer_id = customer.customer_id)`,
  ([customerId]: [string]) => customerId,
);

/** The ones of these customers that have no record. */
export function findCustomersWithoutRecord(
  db: Executor,
  accountId: string,
  customerIds: readonly string[],
): Promise<string[]> {
  return selectWithout(db, { accountId, customerIds });
}

const lockCustomer = statement(
  () => sql`
    select pg_advisory_xact_lock_shared(
      ${customerLock(sql`${given("accountId")}::text`, sql`${given("customerId")}::text`)})`,
  () => true,
);
const selectIds = statement(
  () => sql`
    select id from kycs where account_id = ${given("accountId")} and customer_id = ${given("customerId")} limit ${limit}`,
  ([id]: [string]) => id,
);

/**
 * The ids of up to `most` records of the customer. Until the transaction ends, no hold is placed on the customer.
 */
export async function excludeHolds(
  tx: Executor,
  accountId: string,
  customerId: string,
  most: number,
): Promise<string[]> {
  await lockCustomer(tx, { accountId, customerId });
  return selectIds(tx, { accountId, customerId, limit: most });
}
