import { startRecurring } from "../../lib/recurring.ts";
import type { Database } from "../client.ts";

/** The default interval of PostgreSQL's autovacuum. */
const INTERVAL_MS = 60_000;
/** By then a short command has ended and a gateway has started. */
const DELAY_MS = 2000;
/** Above this size of the write-ahead log, a checkpoint is made. It limits the work of a start after a crash. */
const LARGEST_LOG_BYTES = 64 * 1024 * 1024;

/**
 * Calls `keepUp` at an interval. The returned function stops this and resolves when the running statement has ended.
 */
export function startUpkeep(db: Database, onWarning: (message: string) => void): () => Promise<void> {
  return startRecurring({
    work: (isStopped) => keepUp(db, isStopped),
    pause: () => INTERVAL_MS,
    delay: DELAY_MS,
    onFailure: (error) => onWarning(`the embedded database could not be tidied up: ${error}`),
  });
}

/**
 * Does the work of PostgreSQL's background processes, which the embedded engine does not have. Afterwards the planner has
 * statistics of tables that have changed much, the space of their dead rows can be reused, and the write-ahead log is
 * short. Without this, a search for a record would scan its whole account, and the log would grow without limit.
 */
export async function keepUp(db: Database, isStopped: () => boolean): Promise<void> {
  // Otherwise the most recent changes are not counted.
  await db.execute("select pg_stat_force_next_flush()");
  for (const { name } of await db.execute<{ name: string }>(CHANGED_TABLES)) {
    if (isStopped()) return;
    await unhurried(db, `vacuum (analyze) ${name}`);
  }
  const [log] = await db.execute<{ size: number }>(LOG_SIZE);
  if (log && log.size > LARGEST_LOG_BYTES && !isStopped()) await unhurried(db, "checkpoint");
}

/**
 * Tables with more changes than 50 rows plus 20 %, the default threshold of autovacuum. The counts are lost when the
 * engine is closed, so a table's growth counts, too.
 */
const CHANGED_TABLES = `
  select format('%I.%I', schemaname, stat.relname) as name
  from pg_stat_user_tables as stat join pg_class on pg_class.oid = relid
  where n_mod_since_analyze > 50 + 0.2 * reltuples
    or pg_relation_size(relid) / current_setting('block_size')::int > 10 + 1.2 * relpages`;

const LOG_SIZE = "select (pg_current_wal_lsn() - redo_lsn)::float8 as size from pg_control_checkpoint()";

/** Runs a statement without the pool's time limit, because no client waits for it. The engine's own limit still applies. */
function unhurried(db: Database, statement: string): Promise<unknown> {
  return db.execute(statement, undefined, Number.POSITIVE_INFINITY);
}
