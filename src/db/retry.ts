import { setTimeout as wait } from "node:timers/promises";
import { AppError } from "../errors.ts";

/** In all. */
const TRIES = 5;
/** The longest one before the second try; it grows with each. Milliseconds. */
const PAUSE = 100;

/**
 * Does the work, and does it again a few times where the database could not for the moment: it was the one that a
 * deadlock cost its locks, or waited too long for them. It must be safe to repeat, also where it has happened. Once
 * `signal` is aborted there is no further try.
 */
export async function withRetries<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const passes = error instanceof AppError && error.code === "UNAVAILABLE";
      if (!passes || tries === TRIES || signal?.aborted) throw error;
      // Of different length, so that those who met do not meet again.
      await wait(PAUSE * tries * Math.random());
    }
  }
}
