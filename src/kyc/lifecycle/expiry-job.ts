import { type DueTiming, startDueJob } from "./due-job.ts";
import { type Expiring, expireBatch, nextStep } from "./expire-batch.ts";
import { type ExpiryGroup, type ExpiryPosition, findGroups } from "./expiry-store.ts";

const EXPIRY_TIMING: DueTiming = { lookMs: 2000, stuckMs: 15_000 };

/** Gets what the job does. */
export interface ExpiryEvents {
  /** After each batch: how many records expired, and how many notices were sent. */
  onBatch(expired: number, notices: number): void;
  /** No record is due now. */
  onNoneDue(): void;
  /** After each run that met any: how many records can't expire, and the ids of some. */
  onUnreadable(records: number, ids: readonly string[]): void;
  onFailure(error: unknown): void;
}

/** Ids that are named in one line of the log, at most. */
const MOST_NAMED = 100;

/**
 * Makes records expire and announces it before, for all accounts, soon after the time has come by the database's clock. Each
 * replica looks for such records, and one of them at a time handles them, in small batches with pauses. Everything that a
 * batch does is one statement which repeats its conditions, so a replica may die or stall at any moment.
 */
export function startExpiry(
  expiring: Expiring,
  events: ExpiryEvents,
  timing = EXPIRY_TIMING,
): () => Promise<void> {
  return startDueJob<ExpiryGroup, ExpiryPosition>({
    ...{ db: expiring.db, job: "expiry", timing },
    look: () => findDueGroups(expiring),
    begin: () => {
      let unreadable = 0;
      const named: string[] = [];
      return {
        batch: async (group, after) => {
          const batch = await expireBatch(expiring, group, after);
          events.onBatch(batch.expired, batch.notices);
          unreadable += batch.unreadable.length;
          named.push(...batch.unreadable.slice(0, MOST_NAMED - named.length));
          return { done: batch.expired + batch.notices, last: batch.last };
        },
        onEnd: () => {
          if (unreadable > 0) events.onUnreadable(unreadable, named);
        },
      };
    },
    onNoneDue: events.onNoneDue,
    onFailure: events.onFailure,
  });
}

/** The groups that have a record with a step to do. */
async function findDueGroups({ db, notices }: Expiring): Promise<ExpiryGroup[]> {
  const due: ExpiryGroup[] = [];
  for await (const { accountId, step, firstExpiresAt, now } of findGroups(db)) {
    if (firstExpiresAt <= now + 1000 * nextStep(notices, step)) due.push({ accountId, step });
  }
  return due;
}
