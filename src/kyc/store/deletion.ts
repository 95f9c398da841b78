import { and, eq, sql } from "drizzle-orm";
import type { DigestCustomer } from "../../audit/customer-digest.ts";
import type { NewAuditEvent } from "../../audit/event.ts";
import { eventValues, writingEvents } from "../../audit/store.ts";
import type { Executor } from "../../db/client.ts";
import { deletedKycs, kycs, toTimestamptz } from "../../db/schema.ts";
import { statement, withFirst } from "../../db/statement.ts";
import { deletingResults } from "../../idempotency/store.ts";
import { customerLock, forgetCustomers, requireUnheld } from "../holds/store.ts";
import type { Kyc } from "../record.ts";
import { columns, isRecord, toKyc } from "./read.ts";
import { requirePastRetention } from "./retention.ts";

const given = sql.placeholder;
/** Records per statement. */
const STEP = 500;
const account = sql`${given("accountId")}::text`;
const isListed = and(eq(kycs.accountId, given("accountId")), sql`${kycs.id} = any(${given("ids")}::text[])`);

// Every deletion locks customers before rows, so that deletions can't deadlock.
const lockListed = (options?: { skipLocked: true }) =>
  statement(
    (db) =>
      sql`
      with customer as materialized (
        select distinct customer_id from kycs
        where account_id = ${given("accountId")} and id = any(${given("ids")}::text[]) order by customer_id
      ),
      locked as materialized (
        select pg_advisory_xact_lock_shared(${customerLock(account, sql`customer_id`)}) from customer
      )
      ${db
        .select(columns)
        .from(kycs)
        .where(and(isListed, sql`(select count(*) from locked) >= 0`))
        .orderBy(kycs.id)
        .for("update", options)
        .getSQL()}`,
    toKyc,
  );

const lockAll = lockListed();
const lockFree = lockListed({ skipLocked: true });

/**
 * The present records with these ids, locked until the transaction ends, for their deletion: a hold is placed before or
 * after it, and not at the same time. Waits for records that are locked, or leaves them out if `skipsLocked`.
 */
export function lockForDeletion(
  tx: Executor,
  accountId: string,
  ids: readonly string[],
  { skipsLocked = false } = {},
): Promise<Kyc[]> {
  return (skipsLocked ? lockFree : lockAll)(tx, { accountId, ids });
}

const selectKept = statement(
  (db) => db.select(columns).from(kycs).where(isRecord).for("no key update"),
  toKyc,
);

/** The present record. Until the transaction ends, nobody changes or deletes it, or calls this for it. */
export async function keepKyc(tx: Executor, accountId: string, id: string): Promise<Kyc | undefined> {
  return (await selectKept(tx, { accountId, id }))[0];
}

const remove = statement(
  (db) => {
    const keeping = db
      .insert(deletedKycs)
      .select(
        sql`select ${account}, * from unnest(${given("ids")}::text[], ${given("createdAts")}::text[]::timestamptz[])`,
      );
    const removing = db.delete(kycs).where(isListed);
    return withFirst(
      sql`${writingEvents}, place as (${keeping.getSQL()}), ${deletingResults}, removed as (${removing.getSQL()})`,
      sql`select kyc_ids[1], sequence::float8 from event`,
    );
  },
  ([kycId, sequence]: [string, number]) => ({ kycId, sequence }),
);

/** A record that the transaction has locked by `lockForDeletion`, and the event of its deletion. */
export interface Deletion {
  kyc: Kyc;
  event: NewAuditEvent;
}

/** What decides whether records can be deleted. */
export interface DeletionRules {
  digestCustomer: DigestCustomer;
  /** How long after the end of a relationship nothing can be deleted, as an interval of PostgreSQL; null: not enforced. */
  enforcedRetention: string | null;
}

/**
 * Deletes records, and the results that are stored for their idempotency keys; keeps their positions in the list, and writes
 * the events, whose sequences it returns. Every deletion of the gateway uses this. Fails with LEGAL_HOLD if one of them is
 * held, and with RETENTION if the enforced time of retention of one has not passed; then none is deleted.
 */
export async function deleteLockedKycs(
  tx: Executor,
  accountId: string,
  deletions: readonly Deletion[],
  { digestCustomer, enforcedRetention }: DeletionRules,
): Promise<{ kycId: string; sequence: number }[]> {
  const records = deletions.map(({ kyc }) => kyc);
  const digests = new Map<string, Buffer>(records.map(({ customerId }) => [customerId, Buffer.alloc(0)]));
  for (const customerId of digests.keys()) digests.set(customerId, digestCustomer(accountId, customerId));
  await requireUnheld(
    tx,
    accountId,
    records.map(({ id, customerId }) => ({ id, customerDigest: digests.get(customerId) as Buffer })),
  );
  if (enforcedRetention !== null) {
    const ids = records.map(({ id }) => id);
    await requirePastRetention(tx, accountId, ids, enforcedRetention);
  }
  await forgetCustomers(tx, accountId, [...digests.keys()]);
  const removed: { kycId: string; sequence: number }[] = [];
  for (let from = 0; from < deletions.length; from += STEP) {
    const some = deletions.slice(from, from + STEP);
    removed.push(
      ...(await remove(tx, {
        accountId,
        ids: some.map(({ kyc }) => kyc.id),
        createdAts: some.map(({ kyc }) => toTimestamptz(kyc.createdAt)),
        ...eventValues(some.map(({ event }) => event)),
      })),
    );
  }
  return removed;
}
