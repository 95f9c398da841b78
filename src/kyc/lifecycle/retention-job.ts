import { findAccountsPastRetention, type RetentionPosition } from "../store/retention.ts";
import { type DueTiming, startDueJob } from "./due-job.ts";
import { eraseBatch, type Retaining } from "./erase-batch.ts";

/** Held records stay due, and each run reads them. */
const RETENTION_TIMING: DueTiming = { lookMs: 10_000, stuckMs: 60_000 };

/** Gets what the job does. */
export interface RetentionEvents {
  /** After each batch: how many records were erased. */
  onBatch(erased: number): void;
  /** After each run: how many records were erased. */
  onEnd(erased: number): void;
  /** No record has to be erased now, or those that have to are held. */
  onNoneLeft(): void;
  onFailure(error: unknown): void;
}

/**
 * Erases records once the time of retention has passed after the end of the relationship, by the database's clock, for all
 * accounts. Held records stay until they are no longer held. Each replica looks for such records, and one of them at a time
 * handles them, in small batches with pauses. Each batch is one transaction which repeats its conditions, so a replica may
 * die or stall at any moment.
 */
export function startRetention(
  retaining: Retaining,
  events: RetentionEvents,
  timing = RETENTION_TIMING,
): () => Promise<void> {
  return startDueJob<string, RetentionPosition>({
    ...{ db: retaining.db, job: "retention", timing },
    look: () => findAccountsPastRetention(retaining.db, retaining.retention),
    begin: () => {
      let [erased, left] = [0, 0];
      return {
        batch: async (accountId, after) => {
          const batch = await eraseBatch(retaining, accountId, after);
          events.onBatch(batch.erased);
          erased += batch.erased;
          left += batch.left;
          return { done: batch.erased, last: batch.last };
        },
        onEnd: () => {
          if (left === 0) events.onNoneLeft();
          events.onEnd(erased);
        },
      };
    },
    onNoneDue: events.onNoneLeft,
    onFailure: events.onFailure,
  });
}
