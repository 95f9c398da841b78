import type { Database } from "../db/client.ts";
import { startRecurring } from "../lib/recurring.ts";
import { spread } from "../lib/spread.ts";
import type { FailureLog } from "../log.ts";
import { removeExpiredKeys } from "./store.ts";

/** From one removal of expired keys by a replica to the next, on average. */
const INTERVAL_MS = 60 * 60 * 1000;
/** Keys per statement: few enough for a short statement. */
const BATCH = 1000;

/**
 * Removes expired keys now, and then about every hour. The returned function stops it and resolves when the running statement
 * has ended.
 */
export function startSweep({ db, log }: { db: Database; log: FailureLog }): () => Promise<void> {
  return startRecurring({
    work: (isStopped) => sweep(db, isStopped),
    pause: () => spread(INTERVAL_MS, 0.25),
    // The next run removes the rest; until then it only takes space.
    onFailure: (err) => log.warn({ err }, "old idempotency keys could not be removed"),
  });
}

/** Removes all expired keys in batches, until `isStopped` returns true. */
export async function sweep(db: Database, isStopped: () => boolean): Promise<void> {
  while (!isStopped() && (await removeExpiredKeys(db, BATCH)) === BATCH);
}
