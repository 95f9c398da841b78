import { sql } from "drizzle-orm";
import type { AuditEvent } from "../audit/event.ts";
import type { Executor } from "../db/client.ts";
import { ledgerProgress } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import { type Frontier, HASH_LENGTH } from "./tree.ts";

const given = sql.placeholder;

/**
 * How far events have got their positions. What holds at any moment: an event of an earlier release has its position
 * if `oldDone`, or if it is not after (`oldAccount`, `oldSequence`) in order of account, time and sequence. An event
 * that a transaction below `nextTransaction` wrote has its position unless that one is among the `openTransactions`:
 * whatever else commits later is not below.
 */
export interface Progress {
  /** Rises with each change. */
  turn: number;
  nextTransaction: string;
  openTransactions: string[];
  oldAccount: string;
  oldSequence: number;
  oldDone: boolean;
}

/** What a look finds. Numbers of transactions need more bits than a JavaScript number has. */
export interface Look {
  progress: Progress;
  /** The transactions that had not ended, and the first number that none had at that moment. */
  now: Pick<Progress, "nextTransaction" | "openTransactions">;
  /** Whether a transaction that may not have been considered has written an event. */
  hasNews: boolean;
}

const insertProgress = statement((db) =>
  db.insert(ledgerProgress).values({ name: "events" }).onConflictDoNothing(),
);

const selectProgress = statement(
  () => sql`
    select turn::float8, next_transaction::text, open_transactions::text[], old_account, old_sequence::float8, old_done,
      pg_snapshot_xmax(pg_current_snapshot())::text,
      array(select pg_snapshot_xip(pg_current_snapshot())::text),
      exists (select from audit_events
          where written_in >= next_transaction and written_in < pg_snapshot_xmax(pg_current_snapshot()))
        or exists (select from audit_events where written_in = any(open_transactions))
        or next_transaction > pg_snapshot_xmax(pg_current_snapshot())
    from ledger_progress where name = 'events'`,
  ([turn, nextTransaction, openTransactions, oldAccount, oldSequence, oldDone, next, open, hasNews]: [
    number,
    string,
    string[],
    string,
    number,
    boolean,
    string,
    string[],
    boolean,
  ]): Look => ({
    progress: { turn, nextTransaction, openTransactions, oldAccount, oldSequence, oldDone },
    now: { nextTransaction: next, openTransactions: open },
    hasNews,
  }),
);

/** How far events have got their positions, and what there is to do. */
export async function look(db: Executor): Promise<Look> {
  for (;;) {
    const [found] = await selectProgress(db, {});
    if (found) return found;
    await insertProgress(db, {});
  }
}

/** An event without a position. */
export interface UnsealedEvent extends AuditEvent {
  accountId: string;
}

const FIELDS = [
  "accountId",
  "sequence",
  "at",
  "tokenId",
  "tokenName",
  "surface",
  "requestId",
  "action",
  "kycIds",
  "changedFields",
  "statusBefore",
  "statusAfter",
  "reason",
] as const satisfies (keyof UnsealedEvent)[];

/** The columns of `audit_events event` that `toUnsealedEvent` makes an event of. */
export const eventColumns = sql.raw(
  `event.account_id, event.sequence::float8, round(date_part('epoch', event.at) * 1000), event.token_id,
   event.token_name, event.surface, event.request_id, event.action, event.kyc_ids, event.changed_fields,
   event.status_before, event.status_after, event.reason`,
);
/** The event whose columns are the first of these values. */
export const toUnsealedEvent = (values: unknown[]): UnsealedEvent =>
  Object.fromEntries(FIELDS.map((field, index) => [field, values[index]])) as unknown as UnsealedEvent;

// As a join, it could be planned as one that reads all entries; a subquery with a limit is one look-up per event.
const hasNoPosition = sql`(
  select 1 from ledger_entries entry
  where entry.account_id = event.account_id and entry.sequence = event.sequence limit 1
) is null`;

const selectOld = statement(
  () => sql`
    select ${eventColumns} from audit_events event
    where written_in is null and (account_id, at, sequence) > (${given("oldAccount")}, coalesce(
      (select at from audit_events where account_id = ${given("oldAccount")} and sequence = ${given("oldSequence")}::bigint),
      '-infinity'), ${given("oldSequence")}::bigint)
    order by account_id, at, sequence limit ${given("limit")}::int`,
  toUnsealedEvent,
);

/** The next events of an earlier release, `limit` at most, in the order of their positions: by time and sequence. */
export function findOldEvents(db: Executor, progress: Progress, limit: number): Promise<UnsealedEvent[]> {
  const { oldAccount, oldSequence } = progress;
  return selectOld(db, { oldAccount, oldSequence: String(oldSequence), limit });
}

const selectNew = (isNew: ReturnType<typeof sql>) =>
  statement(
    () => sql`
      select ${eventColumns} from audit_events event
      where (${isNew} or written_in = any(${given("open")}::text[]::xid8[])) and ${hasNoPosition}
      order by sequence limit ${given("limit")}::int`,
    toUnsealedEvent,
  );
const next = sql`written_in >= ${given("next")}::text::xid8`;
const below = sql`written_in < pg_snapshot_xmax(pg_current_snapshot())`;
const selectSince = selectNew(sql`(${next} and ${below})`);
const selectRestored = selectNew(sql`(${next} or ${below})`);

/**
 * The committed events of this release without a position, `limit` at most, in the order of their positions. Of two
 * changes of one record, the later one got its sequence while it had the record locked, after the earlier one had
 * committed: by sequence they are in their order, within one call and over several.
 */
export function findNewEvents(
  db: Executor,
  { progress, now }: Look,
  limit: number,
): Promise<UnsealedEvent[]> {
  // Numbers of transactions only rise: a database whose next one is lower was restored from a dump into another
  // server. What the old one has left is not below, and all that was written in the new one is.
  const restored = BigInt(now.nextTransaction) < BigInt(progress.nextTransaction);
  const select = restored ? selectRestored : selectSince;
  return select(db, { next: progress.nextTransaction, open: progress.openTransactions, limit });
}

/** The log of an account, as far as it is needed to append to it. */
export interface Head extends Frontier {
  accountId: string;
}

const selectHeads = statement(
  () => sql`
    select account_id, size::float8, frontier from ledger_heads
    where account_id = any(${given("accountIds")}::text[])`,
  ([accountId, size, frontier]: [string, number, Buffer]): Head => ({
    accountId,
    size,
    hashes: Array.from({ length: frontier.length / HASH_LENGTH }, (_, n) =>
      frontier.subarray(n * HASH_LENGTH, (n + 1) * HASH_LENGTH),
    ),
  }),
);

/** The logs of those of these accounts that have one. */
export function findHeads(db: Executor, accountIds: readonly string[]): Promise<Head[]> {
  return selectHeads(db, { accountIds });
}

/** An event's position and leaf. */
export interface Entry {
  accountId: string;
  position: number;
  sequence: number;
  leafHash: Buffer;
  tokenNameSalt: Buffer;
  reasonSalt: Buffer | null;
  reasonHash: Buffer | null;
}

/** A complete subtree of an account's tree. */
export interface Node {
  accountId: string;
  level: number;
  index: number;
  hash: Buffer;
}

/** Lists of texts, one per column, as rows. */
const rowsOf = (name: string, fields: readonly string[]) => {
  const lists = sql.join(
    fields.map((field) => sql`${given(`${name}.${field}`)}::text[]`),
    sql`, `,
  );
  return sql`unnest(${lists}) as given(${sql.raw(fields.map((field) => `"${field}"`).join(", "))})`;
};
const bytea = (field: string) => `decode("${field}", 'hex')`;
const ENTRY_FIELDS = [
  "accountId",
  "position",
  "sequence",
  "leafHash",
  "tokenNameSalt",
  "reasonSalt",
  "reasonHash",
] as const satisfies (keyof Entry)[];
const NODE_FIELDS = ["accountId", "level", "index", "hash"] as const satisfies (keyof Node)[];
const HEAD_FIELDS = ["accountId", "size", "frontier"] as const;

/**
 * The turn is compared in the statement that writes, and nothing is written if it is another. So of several sealers
 * that found the same events one numbers them, without a lock between statements: one that is paused or dies holds
 * nothing, and one that goes on after a pause writes nothing. Whatever the plan, a position can't be given twice, nor
 * an event have two: the statement would fail with a duplicate key.
 */
const write = statement(
  () => sql`
    with turn as (
      update ledger_progress set turn = turn + 1, next_transaction = ${given("nextTransaction")}::text::xid8,
        open_transactions = ${given("openTransactions")}::text[]::xid8[], old_account = ${given("oldAccount")},
        old_sequence = ${given("oldSequence")}::bigint, old_done = ${given("oldDone")}::boolean
      where name = 'events' and turn = ${given("turn")}::bigint
      returning turn
    ),
    entry as (
      insert into ledger_entries (account_id, position, sequence, leaf_hash, token_name_salt, reason_salt, reason_hash)
      select "accountId", "position"::bigint, "sequence"::bigint, ${sql.raw(ENTRY_FIELDS.slice(3).map(bytea).join(", "))}
      from ${rowsOf("entry", ENTRY_FIELDS)} where exists (select from turn)
    ),
    node as (
      insert into ledger_nodes (account_id, level, index, hash)
      select "accountId", "level"::int, "index"::bigint, ${sql.raw(bytea("hash"))}
      from ${rowsOf("node", NODE_FIELDS)} where exists (select from turn)
    ),
    head as (
      insert into ledger_heads (account_id, size, frontier)
      select "accountId", "size"::bigint, ${sql.raw(bytea("frontier"))}
      from ${rowsOf("head", HEAD_FIELDS)} where exists (select from turn)
      on conflict (account_id) do update set size = excluded.size, frontier = excluded.frontier
    )
    select from turn`,
  () => true,
);

/**
 * Appends the entries to their logs and notes the progress, all or nothing, if nobody else has written since the
 * progress of this turn was read. False: somebody has, and nothing was written.
 */
export async function writeEntries(
  db: Executor,
  progress: Progress,
  { entries, nodes, heads }: { entries: readonly Entry[]; nodes: readonly Node[]; heads: readonly Head[] },
): Promise<boolean> {
  const values: Record<string, unknown> = { ...progress };
  for (const key of ["turn", "oldSequence"] as const) values[key] = String(progress[key]);
  for (const field of ENTRY_FIELDS) values[`entry.${field}`] = entries.map((entry) => textOf(entry[field]));
  for (const field of NODE_FIELDS) values[`node.${field}`] = nodes.map((node) => textOf(node[field]));
  const rows = heads.map(({ hashes, ...head }) => ({ ...head, frontier: Buffer.concat(hashes) }));
  for (const field of HEAD_FIELDS) values[`head.${field}`] = rows.map((head) => textOf(head[field]));
  return (await write(db, values)).length > 0;
}

function textOf(value: string | number | Buffer | null): string | null {
  return Buffer.isBuffer(value) ? value.toString("hex") : value === null ? null : String(value);
}
