import type { Connection } from "./connection.ts";

/** The age of a session at which its plans are first made anew. Milliseconds. */
const FIRST_AGE_MS = 1000;
/** They are made anew whenever the session is so many times as old as the last time. */
const GROWTH = 3;

/**
 * Lets the server make the plans of the prepared statements anew, if they are due at `now` (milliseconds of
 * `performance.now()`). Call it before each statement and transaction.
 *
 * PostgreSQL plans a prepared statement for whatever values may come, and keeps the plan until autovacuum has looked at the
 * table, which takes a minute or longer. While a table has few rows, every index costs the same: a look-up by the primary
 * key can get a plan that reads all rows of the account. On PostgreSQL 15, an import into a new database was eight times
 * slower after 50,000 records, and kept slowing down. For a new plan PostgreSQL looks how large the table is now.
 */
export function renewPlans(connection: Connection, now: number): void {
  const { plans } = connection;
  if (plans.since === undefined) {
    plans.since = now;
    plans.until = now + FIRST_AGE_MS;
  }
  if (now < plans.until) return;
  plans.until = plans.since + GROWTH * (now - plans.since);
  // Its failure does not matter: if the connection is lost, the statement that follows fails, too.
  connection.client.unsafe("discard plans").catch(() => {});
}
