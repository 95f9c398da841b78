import { and, eq, sql } from "drizzle-orm";
import type { Executor } from "../../db/client.ts";
import { epochMillis, kycs, toTimestamptz } from "../../db/schema.ts";
import { statement } from "../../db/statement.ts";
import { AppError } from "../../errors.ts";

const given = sql.placeholder;
const retention = sql`${given("retention")}::text::interval`;

// Months differ in length, so the time is added to the end of the relationship, in UTC whatever the zone of the session.
const retainedUntil = sql`((${kycs.relationshipEndedAt} at time zone 'UTC' + ${retention}) at time zone 'UTC')`;

/**
 * A bound of the index for records whose time has passed. On the last day of a month, the sum can also be reached from
 * the days that this month does not have: January 31 and a month are February 28.
 */
const utcNow = sql`(now() at time zone 'UTC')`;
const latestEnd = sql`((${utcNow} - ${retention}
  + case when date_part('day', ${utcNow} + interval '1 day') = 1 then interval '3 days' else interval '0' end)
  at time zone 'UTC')`;
const hasPassed = sql`${kycs.relationshipEndedAt} <= ${latestEnd} and ${retainedUntil} <= now()`;

const selectRetained = statement(
  (db) =>
    db
      .select({ id: kycs.id, until: epochMillis<number | null>(retainedUntil) })
      .from(kycs)
      .where(
        and(
          eq(kycs.accountId, given("accountId")),
          sql`${kycs.id} = any(${given("ids")}::text[])`,
          sql`(${kycs.relationshipEndedAt} is null or ${retainedUntil} > now())`,
        ),
      ),
  ([id, until]: [string, number | null]) => ({ id, until }),
);

/** A record that must be kept for the time of retention. */
interface RetainedKyc {
  id: string;
  /** Epoch milliseconds; null: the relationship with the customer has not ended. */
  until: number | null;
}

/**
 * Those of the account's records whose time of retention has not passed, by the database's clock. `retention` is an interval
 * of PostgreSQL. The transaction has locked the records, so that the answer holds until it ends.
 */
export function findRetained(
  tx: Executor,
  accountId: string,
  ids: readonly string[],
  retention: string,
): Promise<RetainedKyc[]> {
  return selectRetained(tx, { accountId, ids, retention });
}

/** Fails with RETENTION if the time of retention of one of the records has not passed. See `findRetained`. */
export async function requirePastRetention(...args: Parameters<typeof findRetained>): Promise<void> {
  const retained = await findRetained(...args);
  if (retained.length === 0) return;
  const ends = retained.map(({ until }) => until ?? Number.POSITIVE_INFINITY);
  const last = Math.max(...ends);
  throw retentionError(last === Number.POSITIVE_INFINITY ? null : last);
}

/** The error for a deletion before this time (epoch milliseconds), or before the relationship has ended (null). */
export function retentionError(retainedUntil: number | null): AppError {
  const why =
    retainedUntil === null
      ? "the time of retention begins when the relationship with the customer ends, and it has not ended"
      : `the time of retention ends at ${new Date(retainedUntil).toISOString()}`;
  return new AppError("RETENTION", `Nothing was deleted: ${why}.`, { retainedUntil });
}

// Each step of the recursion is one look-up in the index, so the cost grows with the accounts, not with the records.
const selectAccounts = statement(
  () => sql`
    with recursive found (account_id) as (
      (
        select ${kycs.accountId} from ${kycs}
        where ${kycs.relationshipEndedAt} is not null and ${kycs.accountId} > ${given("after")}
        order by ${kycs.accountId}, ${kycs.relationshipEndedAt} limit 1
      )
      union all
      select next.* from found cross join lateral (
        select ${kycs.accountId} from ${kycs}
        where ${kycs.relationshipEndedAt} is not null and ${kycs.accountId} > found.account_id
        order by ${kycs.accountId}, ${kycs.relationshipEndedAt} limit 1
      ) as next
    )
    select account_id, exists (
      select from ${kycs} where ${kycs.accountId} = found.account_id and ${hasPassed}
    ) from found limit ${given("limit")}::int`,
  ([accountId, isDue]: [string, boolean]) => ({ accountId, isDue }),
);

/** Accounts per statement. */
const ACCOUNTS_AT_ONCE = 1000;

/** The accounts that have a record whose time of retention has passed, by the database's clock; also if it is held. */
export async function findAccountsPastRetention(db: Executor, retention: string): Promise<string[]> {
  const due: string[] = [];
  for (let after: string | undefined = ""; after !== undefined; ) {
    const accounts: { accountId: string; isDue: boolean }[] = await selectAccounts(db, {
      ...{ after, retention, limit: ACCOUNTS_AT_ONCE },
    });
    due.push(...accounts.flatMap(({ accountId, isDue }) => (isDue ? [accountId] : [])));
    after = accounts.length === ACCOUNTS_AT_ONCE ? accounts.at(-1)?.accountId : undefined;
  }
  return due;
}

/** A record whose time of retention has passed. */
export interface PastRetention {
  id: string;
  customerId: string;
  /** Epoch milliseconds. */
  relationshipEndedAt: number;
  /** By the database's clock. Epoch milliseconds. */
  now: number;
}

const selectPast = statement(
  (db) =>
    db
      .select({
        id: kycs.id,
        customerId: kycs.customerId,
        endedAt: epochMillis(kycs.relationshipEndedAt),
        now: epochMillis(sql`now()`),
      })
      .from(kycs)
      .where(
        sql`${kycs.accountId} = ${given("accountId")} and ${hasPassed}
          and (${kycs.relationshipEndedAt}, ${kycs.id}) > (${given("afterAt")}::timestamptz, ${given("afterId")})`,
      )
      .orderBy(kycs.relationshipEndedAt, kycs.id)
      .limit(given("limit")),
  ([id, customerId, relationshipEndedAt, now]: [string, string, number, number]): PastRetention => ({
    ...{ id, customerId, relationshipEndedAt, now },
  }),
);

/** The position of a record among those of its account whose relationship has ended. */
export type RetentionPosition = Pick<PastRetention, "relationshipEndedAt" | "id">;

/** Up to `limit` records of the account whose time of retention has passed, after a position and in this order. */
export function findPastRetention(
  db: Executor,
  accountId: string,
  { after, retention, limit }: { after: RetentionPosition | undefined; retention: string; limit: number },
): Promise<PastRetention[]> {
  const afterAt = toTimestamptz(after?.relationshipEndedAt ?? Number.NEGATIVE_INFINITY);
  return selectPast(db, { accountId, retention, limit, afterAt, afterId: after?.id ?? "" });
}
