import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { type Head, headColumns, toHead } from "./heads.ts";
import type { Node } from "./store.ts";
import { emptyFrontier } from "./tree.ts";

const given = sql.placeholder;

const TABLES = ["ledger_heads", "ledger_nodes", "ledger_entries", "audit_events"];
const nextAccount = sql.raw(
  `least(${TABLES.map((table) => `(select min(account_id) from ${table} where account_id > after)`).join(", ")})`,
);
/** Accounts of one statement. */
const ACCOUNTS = 500;

// Each step of the recursion is one look-up in each primary key, however many events there are.
const selectNextAccounts = statement(
  () => sql`
    with recursive account (after, number) as (
      select ${given("after")}::text collate "C", 0
      union all
      select ${nextAccount}, number + 1 from account where after is not null and number < ${sql.raw(String(ACCOUNTS))}
    )
    select after from account where number > 0 and after is not null order by number`,
  ([accountId]: [string]) => accountId,
);

/** Every account that has a log, or events without one, in order. */
export async function* listLogAccounts(db: Executor): AsyncGenerator<string> {
  for (let after = ""; ; ) {
    const accounts = await selectNextAccounts(db, { after });
    yield* accounts;
    if (accounts.length < ACCOUNTS) return;
    after = accounts.at(-1) as string;
  }
}

const selectHasLog = statement(
  () => sql`
    select ${sql.raw(TABLES.map((table) => `exists (select from ${table} where account_id = wanted)`).join(" or "))}
    from (select ${given("accountId")}::text as wanted) as account`,
  ([has]: [boolean]) => has,
);

/** Whether the account has a log, or events without one. */
export async function hasLog(db: Executor, accountId: string): Promise<boolean> {
  return (await selectHasLog(db, { accountId }))[0] ?? false;
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
  /** The lowest and the highest position of an entry; null if there is no entry. */
  firstPosition: number | null;
  lastPosition: number | null;
  /** How many subtrees are stored, and how many events they claim that the log has, at least. */
  nodes: number;
  endOfNodes: number;
}

const selectOutline = statement(
  () => sql`
    select ${headColumns}, first::float8, last::float8, nodes::float8, coalesce(end_of_nodes, 0)::float8
    from (select ${given("accountId")}::text as account_id) as account left join ledger_heads using (account_id),
      (select min(position) as first, max(position) as last from ledger_entries
        where account_id = ${given("accountId")}) as entries,
      (select count(*) as nodes, max((index + 1) * 2::numeric ^ level) as end_of_nodes from ledger_nodes
        where account_id = ${given("accountId")}) as nodes`,
  ([accountId, size, frontier, ...others]: [string, number | null, Buffer | null, ...unknown[]]) => {
    const isThere = size !== null && frontier !== null;
    const head = isThere ? toHead([accountId, size, frontier]) : { accountId, ...emptyFrontier() };
    const [firstPosition, lastPosition, nodes, endOfNodes] = others;
    return { head, firstPosition, lastPosition, nodes, endOfNodes } as LogOutline;
  },
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

/** Events of one statement. */
const STEP = 2000;

const selectUnsealed = statement(
  () => sql`
    select max(sequence)::text, min(sequence) filter (where is_due and position is null)::text, count(*)::int
    from (
      select event.sequence, entry.position, case
        when written_in is null then old_done
        else (written_in < next_transaction and not written_in = any(open_transactions))
          or written_in >= pg_snapshot_xmax(pg_current_snapshot()) end as is_due
      from ledger_progress, audit_events event
      left join ledger_entries entry on entry.account_id = event.account_id and entry.sequence = event.sequence
        and entry.account_id = ${given("accountId")}
      where ledger_progress.name = 'events' and event.account_id = ${given("accountId")}
        and event.sequence >= ${given("from")}::text::bigint
      order by event.sequence limit ${sql.raw(String(STEP))}
    ) as step`,
  ([last, unsealed, count]: [string | null, string | null, number]) => ({ last, unsealed, count }),
);

/** The range of the column `sequence`. JavaScript's numbers are not exact at its ends. */
const [LOWEST, HIGHEST] = [-(2n ** 63n), 2n ** 63n - 1n];

/**
 * The sequence of the account's first event that has no position although the sealer has passed it, or never can reach
 * it. Undefined: there is none. Events that have just been committed don't count.
 */
export async function findForgotten(db: Executor, accountId: string): Promise<string | undefined> {
  for (let from = LOWEST; from <= HIGHEST; ) {
    const [found] = await selectUnsealed(db, { accountId, from: String(from) });
    if (!found?.last || found.unsealed !== null) return found?.unsealed ?? undefined;
    if (found.count < STEP) return undefined;
    from = BigInt(found.last) + 1n;
  }
  return undefined;
}

// Returns the first row of the step that does not belong to its event. If there is none, returns the last row of a full step.
const selectStray = statement(
  () => sql`
    select kyc_id, step.sequence::text, is_stray from (
      select kyc_id, sequence, row_number() over (order by kyc_id, sequence) as number
      from audit_event_records
      where account_id = ${given("accountId")}
        and (kyc_id, sequence) > (${given("kycId")}, ${given("sequence")}::text::bigint)
      order by kyc_id, sequence limit ${sql.raw(String(STEP))}
    ) as step, lateral (
      select not coalesce((
        select step.kyc_id = any (kyc_ids collate "C") from audit_events
        where account_id = ${given("accountId")} and sequence = step.sequence limit 1), false) as is_stray
    ) as judged
    where is_stray or number = ${sql.raw(String(STEP))}
    order by number limit 1`,
  ([kycId, sequence, isStray]: [string, string, boolean]) => ({ kycId, sequence, isStray }),
);

/**
 * The sequence of the first row by which the account's record histories show an event that is not about their record, or
 * that is not there. Undefined: there is none.
 */
export async function findStray(db: Executor, accountId: string): Promise<string | undefined> {
  for (let after = { kycId: "", sequence: String(LOWEST) }; ; ) {
    const [found] = await selectStray(db, { accountId, ...after });
    if (!found || found.isStray) return found?.sequence;
    after = found;
  }
}
