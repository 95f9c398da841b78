import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { ledgerProgress } from "../db/ledger-schema.ts";
import { statement } from "../db/statement.ts";

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

/** The result of a look for events. Numbers of transactions need more bits than a JavaScript number has. */
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

// With an order, the plan is a look-up in the index whatever the statistics say: of a condition alone, a table that has
// just been migrated or filled could be read as a whole, ten times a second.
const isWritten = (from: ReturnType<typeof sql>, below: ReturnType<typeof sql>) => sql`coalesce((
  select written_in from audit_events where written_in >= ${from} order by written_in limit 1) ${below}, false)`;

const selectProgress = statement(
  () => sql`
    select turn::float8, next_transaction::text, open_transactions::text[], old_account, old_sequence::float8, old_done,
      pg_snapshot_xmax(pg_current_snapshot())::text,
      array(select pg_snapshot_xip(pg_current_snapshot())::text),
      ${isWritten(sql`next_transaction`, sql`< pg_snapshot_xmax(pg_current_snapshot())`)}
        or next_transaction > pg_snapshot_xmax(pg_current_snapshot())
        or exists (select from unnest(open_transactions) as earlier(id) where ${isWritten(sql`id`, sql`<= id`)})
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
