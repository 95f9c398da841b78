import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { type Head, headColumns, toHead } from "./heads.ts";
import type { Node } from "./store.ts";
import { emptyFrontier } from "./tree.ts";

const given = sql.placeholder;

const selectNextAccount = statement(
  () => sql`
    select least(
      (select min(account_id) from ledger_heads where account_id > ${given("after")}),
      (select min(account_id) from ledger_entries where account_id > ${given("after")}),
      (select min(account_id) from audit_events where account_id > ${given("after")}))`,
  ([accountId]: [string | null]) => accountId,
);

/** Every account that has a log, or events without one, in order. */
export async function* listLogAccounts(db: Executor): AsyncGenerator<string> {
  for (let after: string | null = ""; ; ) {
    [after = null] = await selectNextAccount(db, { after });
    if (after === null) return;
    yield after;
  }
}

const selectTotal = statement(
  () => sql`
    select coalesce(sum(size), 0)::float8 from ledger_heads
    where ${given("accountId")}::text is null or account_id = ${given("accountId")}`,
  ([total]: [number]) => total,
);

/** The events of all logs, or of one account's, as their heads count them. */
export async function countEntries(db: Executor, accountId: string | null): Promise<number> {
  return (await selectTotal(db, { accountId }))[0] ?? 0;
}

/** A log at one moment. */
export interface LogOutline {
  /** Empty if there is none. */
  head: Head;
  /** The highest position of an entry; null if there is no entry. */
  lastPosition: number | null;
}

const selectOutline = statement(
  () => sql`
    select ${headColumns}, (
      select max(position)::float8 from ledger_entries where account_id = ${given("accountId")})
    from (select ${given("accountId")}::text as account_id) as account left join ledger_heads using (account_id)`,
  ([accountId, size, frontier, lastPosition]: [string, number | null, Buffer | null, number | null]) => ({
    head:
      size === null || frontier === null
        ? { accountId, ...emptyFrontier() }
        : toHead([accountId, size, frontier]),
    lastPosition,
  }),
);

export async function findOutline(db: Executor, accountId: string): Promise<LogOutline> {
  return (await selectOutline(db, { accountId }))[0] as LogOutline;
}

const selectNodes = statement(
  () => sql`
    select account_id, level, index::float8, hash from ledger_nodes
    join unnest(${given("levels")}::int[], ${given("indexes")}::text[]::bigint[]) as wanted(level, index)
      using (level, index)
    where account_id = ${given("accountId")}`,
  ([accountId, level, index, hash]: [string, number, number, Buffer]): Node => ({
    accountId,
    level,
    index,
    hash,
  }),
);

/** The stored hashes of these subtrees, in no order. */
export function findNodes(
  db: Executor,
  accountId: string,
  wanted: readonly Pick<Node, "level" | "index">[],
): Promise<Node[]> {
  const levels = wanted.map(({ level }) => level);
  return selectNodes(db, { accountId, levels, indexes: wanted.map(({ index }) => String(index)) });
}

const selectNodeEnd = statement(
  () => sql`
    select max((index + 1) * 2::numeric ^ level)::float8 from ledger_nodes where account_id = ${given("accountId")}`,
  ([end]: [number | null]) => end ?? 0,
);

/** How many events the stored subtrees of a log claim that it has, at least. */
export async function findEndOfNodes(db: Executor, accountId: string): Promise<number> {
  return (await selectNodeEnd(db, { accountId }))[0] ?? 0;
}

/** Events of one statement. */
const STEP = 2000;

const selectUnsealed = statement(
  () => sql`
    select max(sequence)::float8, min(sequence) filter (where is_due and position is null)::float8, count(*)::int
    from (
      select event.sequence, entry.position, case
        when written_in is null then old_done
        else (written_in < next_transaction and not written_in = any(open_transactions))
          or written_in >= pg_snapshot_xmax(pg_current_snapshot()) end as is_due
      from ledger_progress, audit_events event
      left join ledger_entries entry on entry.account_id = event.account_id and entry.sequence = event.sequence
        and entry.account_id = ${given("accountId")}
      where ledger_progress.name = 'events' and event.account_id = ${given("accountId")}
        and event.sequence > ${given("after")}::text::bigint
      order by event.sequence limit ${sql.raw(String(STEP))}
    ) as step`,
  ([last, unsealed, count]: [number | null, number | null, number]) => ({ last, unsealed, count }),
);

/**
 * The sequence of the account's first event that has no position although the sealer has passed it, or never can reach
 * it. Undefined: there is none. Events that have just been committed don't count.
 */
export async function findForgotten(db: Executor, accountId: string): Promise<number | undefined> {
  for (let after = 0; ; ) {
    const [{ last, unsealed, count } = { last: null, unsealed: null, count: 0 }] = await selectUnsealed(db, {
      accountId,
      after: String(after),
    });
    if (unsealed !== null) return unsealed;
    if (count < STEP || last === null) return undefined;
    after = last;
  }
}
