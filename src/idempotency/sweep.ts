import type { Database } from "../db/client.ts";
import { startRecurring } from "../lib/recurring.ts";
import type { FailureLog } from "../log.ts";
import { removeExpiredKeys } from "./store.ts";

/** How often a replica looks for keys that are no longer kept. Milliseconds. */
const INTERVAL = 60 * 60 * 1000;
/** Keys of one statement: few enough to be gone in a moment. */
const BATCH = 1000;

/**
 * Removes the keys that are no longer kept, now and then every hour, give or take a quarter, so that replicas that
 * started together do not meet. The function that comes back ends it, once the statement under way has ended.
 */
export function startSweep({ db, log }: { db: Database; log: FailureLog }): () => Promise<void> {
  return startRecurring({
    work: (isStopped) => sweep(db, isStopped),
    pause: () => INTERVAL * (0.75 + Math.random() / 2),
    // What is left is found the next time: until then it is only space.
    onFailure: (err) => log.warn({ err }, "old idempotency keys could not be removed"),
  });
}

/** Removes every key that is no longer kept, in batches, until `isStopped`. */
export async function sweep(db: Database, isStopped: () => boolean): Promise<void> {
  while (!isStopped() && (await removeExpiredKeys(db, BATCH)) === BATCH);
}
