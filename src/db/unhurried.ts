import type { Database, Executor } from "./client.ts";

/** Reads in a transaction without a time limit: going through a whole table may take longer than any request would wait. */
export function unhurried<T>(db: Database, read: (tx: Executor) => Promise<T>): Promise<T> {
  return db.transaction(read, Number.POSITIVE_INFINITY);
}
