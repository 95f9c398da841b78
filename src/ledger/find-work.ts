import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { ledgerProgress } from "../db/ledger-schema.ts";
import { statement } from "../db/statement.ts";
import { type Head, toHead } from "./heads.ts";
import { eventColumns, hasNoPosition, toEvent, type UnsealedEvent } from "./unsealed-event.ts";

/**
 * How far events have got their positions. What holds at any moment: an event of an earlier release has its position
 * if `oldDone`, or if it is not after (`oldAccount`, `oldSequence`) in order of account, time and sequence. An event
 * that a transaction below `nextTransaction` wrote has its position unless that one is among the `openTransactions`:
 * whatever else commits later is not below. Of an open transaction that has ended, the events up to its item of
 * `openSequences` have their positions: so one with any number of events is sealed in batches, and each is read once.
 */
export interface Progress {
  /** Rises with each change. */
  turn: number;
  nextTransaction: string;
  openTransactions: string[];
  /** In the order of `openTransactions`. Items that are missing at the end are 0. */
  openSequences: string[];
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
  /**
   * Numbers of transactions only rise: a database whose next one is lower than one that was considered was restored from a
   * dump into another server.
   */
  isRestored: boolean;
  /**
   * Events without a position: of the transactions that were not considered, the first `limit` by transaction and sequence,
   * and at most `limit` of those that were open, of each the first ones by sequence. None if the database was restored, or
   * has old events without a position.
   */
  events: UnsealedEvent[];
  /** The logs of these events' accounts that exist. */
  heads: Head[];
}

const insertProgress = statement((db) =>
  db.insert(ledgerProgress).values({ name: "events" }).onConflictDoNothing(),
);

const given = sql.placeholder;

// With an order, the plan is a look-up in the index whatever the statistics say: of a condition alone, a table that has
// just been migrated or filled could be read as a whole, ten times a second.
const isWritten = (from: ReturnType<typeof sql>, below: ReturnType<typeof sql>) => sql`coalesce((
  select written_in from audit_events where ${from} order by written_in, sequence limit 1) ${below}, false)`;
const openOnes = sql.raw(
  "unnest(open_transactions, open_sequences) with ordinality as earlier(id, seen, number)",
);
// The index has no nulls, and the planner can't prove that a comparison of rows has none.
const isUnseen = sql.raw(
  "written_in is not null and (written_in, sequence) > (earlier.id, coalesce(earlier.seen, 0))",
);
/** The planner can't see the number, so it plans for a part of the rows: a range of the index in its order. */
const limit = sql`(select ${given("limit")}::int)`;
const ofProgress = (column: string) => sql.raw(`(select ${column} from progress)`);

// What was found out is a row of its own: repeated for each event, the heads of a thousand accounts would be gigabytes.
// Orders name the table: a name alone is that of an output column, which is a text or a double here.
// One statement: for a gateway and its database, each one costs as much as dozens of events do.
const selectWork = statement(
  () => sql`
    with progress as materialized (
      select *, pg_snapshot_xmax(pg_current_snapshot()) as now_next from ledger_progress where name = 'events'
    ),
    found as materialized (
      (select ${eventColumns} from audit_events event
        where written_in >= ${ofProgress("next_transaction")} and written_in < ${ofProgress("now_next")}
          and ${ofProgress("old_done")} and ${hasNoPosition}
        order by event.written_in, event.sequence limit ${limit})
      union all
      (select ${eventColumns} from progress, ${openOnes}, lateral (
        select * from audit_events event where ${isUnseen} and written_in <= earlier.id and ${hasNoPosition}
        order by event.written_in, event.sequence limit ${limit}
      ) as event
        where old_done and next_transaction <= now_next
        order by earlier.number, event.sequence limit ${limit})
    ),
    looked as materialized (
      select turn::float8, next_transaction::text, open_transactions::text[], open_sequences::text[], old_account, old_sequence::float8, old_done,
        now_next::text, array(select pg_snapshot_xip(pg_current_snapshot())::text),
        ${isWritten(sql`written_in >= next_transaction`, sql`< now_next`)}
          or next_transaction > now_next
          or exists (select from ${openOnes} where ${isWritten(isUnseen, sql`<= earlier.id`)}),
        next_transaction > now_next,
        array(select account_id || ' ' || size || ' ' || encode(frontier, 'hex')
          from (select distinct account_id as id from found) as account, lateral (
            select * from ledger_heads where account_id = id limit 1
          ) as head)
      from progress
    )
    select looked.*, found.* from looked full join found on false`,
  (values: unknown[]) => values,
);
const FIELDS = [
  ...["turn", "nextTransaction", "openTransactions", "openSequences", "oldAccount", "oldSequence", "oldDone"],
  ...["nowNext", "nowOpen", "hasNews", "isRestored", "heads"],
];

type Looked = Progress & {
  nowNext: string;
  nowOpen: string[];
  hasNews: boolean;
  isRestored: boolean;
  heads: string[];
};

/** How far events have got their positions, and what there is to do. */
export async function look(db: Executor, limit: number): Promise<FoundWork> {
  for (;;) {
    const rows = await selectWork(db, { limit });
    const looked = rows.find(([turn]) => turn !== null);
    if (looked) return toWork(looked, rows);
    await insertProgress(db, {});
  }
}

function toWork(values: unknown[], rows: readonly unknown[][]): FoundWork {
  const looked = Object.fromEntries(
    FIELDS.map((field, index) => [field, values[index]]),
  ) as unknown as Looked;
  const { nowNext, nowOpen, hasNews, isRestored, heads, ...progress } = looked;
  const events = rows.map((row) => row.slice(FIELDS.length)).filter(([accountId]) => accountId !== null);
  return {
    ...{ progress, hasNews, isRestored, events: events.map(toEvent) },
    now: { nextTransaction: nowNext, openTransactions: nowOpen },
    heads: heads.map((head) => {
      const [accountId, size, frontier] = head.split(" ") as [string, string, string];
      return toHead([accountId, Number(size), Buffer.from(frontier, "hex")]);
    }),
  };
}
