import type { Database } from "../db/client.ts";
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
export function startSweep({
  db,
  log,
  now,
}: {
  db: Database;
  log: FailureLog;
  now: () => number;
}): () => Promise<void> {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const run = async () => {
    try {
      await sweep(db, now, () => stopped);
    } catch (error) {
      // What is left is found the next time: until then it is only space.
      log.warn({ err: error }, "old idempotency keys could not be removed");
    }
    if (!stopped) timer = setTimeout(() => (running = run()), INTERVAL * (0.75 + Math.random() / 2)).unref();
  };
  let running = run();
  return async () => {
    stopped = true;
    clearTimeout(timer);
    await running;
  };
}

/** Removes every key that is no longer kept, in batches, until `isStopped`. */
export async function sweep(db: Database, now: () => number, isStopped: () => boolean): Promise<void> {
  while (!isStopped() && (await removeExpiredKeys(db, now(), BATCH)) === BATCH);
}
