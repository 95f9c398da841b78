import { setTimeout as wait } from "node:timers/promises";
import { AppError } from "../errors.ts";

/** Including the first. */
const TRIES = 5;
/** The longest pause before the second try. It grows with each try. */
const PAUSE_MS = 100;

/**
 * Does the work, and repeats it a few times if the database is temporarily unavailable, for example after a deadlock or
 * a lock timeout. The work must be safe to repeat even if it has been done. After `signal` is aborted it is not repeated.
 */
export async function withRetries<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const passes = error instanceof AppError && error.code === "UNAVAILABLE";
      if (!passes || tries === TRIES || signal?.aborted) throw error;
      // A random pause, so that two transactions in conflict do not repeat at the same time.
      await wait(PAUSE_MS * tries * Math.random());
    }
  }
}
