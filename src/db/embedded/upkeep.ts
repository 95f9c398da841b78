import { startRecurring } from "../../lib/recurring.ts";
import type { Database } from "../client.ts";

/** As PostgreSQL's autovacuum has it. Milliseconds. */
const INTERVAL = 60_000;
/** What runs a command is gone by then, and a gateway has started. Milliseconds. */
const DELAY = 2000;
/** What a start after a crash would have to do once more, at most, beside that of one interval. Bytes. */
const LARGEST_LOG = 64 * 1024 * 1024;

/**
 * Does from time to time, until the function that comes back is called, what `keepUp` does once. The function resolves
 * when the statement under way has ended.
 */
export function startUpkeep(db: Database, onWarning: (message: string) => void): () => Promise<void> {
  return startRecurring({
    work: (isStopped) => keepUp(db, isStopped),
    pause: () => INTERVAL,
    delay: DELAY,
    onFailure: (error) => onWarning(`the embedded database could not be tidied up: ${error}`),
  });
}

/**
 * Does what PostgreSQL leaves to processes of its own, which the embedded engine has none of: afterwards the planner
 * knows the tables that have changed much, the space of their dead rows is used again, and the log that a start after
 * a crash goes through is short. Without it, a record would be looked for in all of its account, and the log would
 * grow for as long as the engine is open.
 */
export async function keepUp(db: Database, isStopped: () => boolean): Promise<void> {
  // Changes of the last moments are not counted otherwise.
  await db.execute("select pg_stat_force_next_flush()");
  for (const { name } of await db.execute<{ name: string }>(CHANGED_TABLES)) {
    if (isStopped()) return;
    await unhurried(db, `vacuum (analyze) ${name}`);
  }
  const [log] = await db.execute<{ size: number }>(LOG_SIZE);
  if (log && log.size > LARGEST_LOG && !isStopped()) await unhurried(db, "checkpoint");
}

/**
 * By more than fifty rows and a fifth, as autovacuum has it. What an earlier opening of the engine has counted is
 * lost: so much growth tells as well.
 */
const CHANGED_TABLES = `
  select format('%I.%I', schemaname, stat.relname) as name
  from pg_stat_user_tables as stat join pg_class on pg_class.oid = relid
  where n_mod_since_analyze > 50 + 0.2 * reltuples
    or pg_relation_size(relid) / current_setting('block_size')::int > 10 + 1.2 * relpages`;

const LOG_SIZE = "select (pg_current_wal_lsn() - redo_lsn)::float8 as size from pg_control_checkpoint()";

/** Nobody waits for it who could be told that it takes long; the engine ends what takes longer than any call may. */
function unhurried(db: Database, statement: string): Promise<unknown> {
  return db.execute(statement, undefined, Number.POSITIVE_INFINITY);
}
