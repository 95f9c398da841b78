import { sql } from "drizzle-orm";
import type { AuditEvent } from "../audit/event.ts";
import type { Executor } from "../db/client.ts";
import { ledgerProgress } from "../db/ledger-schema.ts";
import { statement } from "../db/statement.ts";

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
export interface FoundWork {
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
  ]): FoundWork => ({
    progress: { turn, nextTransaction, openTransactions, oldAccount, oldSequence, oldDone },
    now: { nextTransaction: next, openTransactions: open },
    hasNews,
  }),
);

/** How far events have got their positions, and what there is to do. */
export async function look(db: Executor): Promise<FoundWork> {
  for (;;) {
    const [found] = await selectProgress(db, {});
    if (found) return found;
    await insertProgress(db, {});
  }
}

/** An event without a position. */
export interface UnsealedEvent extends Omit<AuditEvent, "position"> {
  accountId: string;
}

const FIELDS = [
  "accountId",
  "sequence",
  "at",
  "tokenId",
  "tokenName",
  "actorName",
  "surface",
  "requestId",
  "action",
  "subject",
  "kycIds",
  "changedFields",
  "statusBefore",
  "statusAfter",
  "documentTypeAfter",
  "versionAfter",
  "reason",
] as const satisfies (keyof UnsealedEvent)[];

/** What `toEvent` makes an event of: columns of `audit_events`. */
export const eventColumns = sql.raw(
  `account_id, sequence::float8, round(date_part('epoch', at) * 1000), token_id, token_name, actor_name,
   coalesce(other_surface, surface::text), request_id, coalesce(other_action, action::text), subject, kyc_ids,
   changed_fields, status_before, status_after, document_type_after, version_after, reason`,
);
/** The event of these values. */
export const toEvent = (values: unknown[]) =>
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
  toEvent,
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
    toEvent,
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
  { progress, now }: FoundWork,
  limit: number,
): Promise<UnsealedEvent[]> {
  // Numbers of transactions only rise: a database whose next one is lower was restored from a dump into another
  // server. What the old one has left is not below, and all that was written in the new one is.
  const restored = BigInt(now.nextTransaction) < BigInt(progress.nextTransaction);
  const select = restored ? selectRestored : selectSince;
  return select(db, { next: progress.nextTransaction, open: progress.openTransactions, limit });
}
