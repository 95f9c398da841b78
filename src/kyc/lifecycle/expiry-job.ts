import { randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { holdJob, releaseJob } from "../../db/job-lease.ts";
import { startRecurring } from "../../lib/recurring.ts";
import { type Expiring, expireBatch, nextStep } from "./expire-batch.ts";
import { type ExpiryGroup, type ExpiryPosition, findGroups } from "./expiry-store.ts";

const JOB = "expiry";
/** After the death of a replica, another one goes on after so long. Milliseconds. */
const LEASE_MS = 15_000;
const RENEW_MS = 5000;
/** The pauses of the job. Milliseconds. */
const EXPIRY_TIMING = {
  /** From one look for records that are due to the next. */
  lookMs: 2000,
  /** The same after a run that could do nothing: it failed, or the records that are due are locked or can't be changed. */
  stuckMs: 30_000,
};
/** After a look, nothing is read for at least so many times as long as it took. */
const LOOK_REST = 50;
/** After a batch, nothing is done for so many times as long as it took: the database has most of its time for others. */
const BATCH_REST = 3;

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
  let pause = timing.lookMs;
  return startRecurring({
    work: async (isStopped) => {
      pause = timing.stuckMs;
      const startedAt = performance.now();
      const due = await findDueGroups(expiring);
      const lookMs = Math.max(timing.lookMs, LOOK_REST * (performance.now() - startedAt));
      if (due.length === 0) events.onNoneDue();
      const isProgressing = due.length === 0 || (await handleAll(expiring, due, events, isStopped));
      if (isProgressing) pause = lookMs;
    },
    // Random, so that replicas do not look at the same time.
    pause: () => pause * (0.75 + Math.random() / 2),
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

/** Ids that are named in one line of the log, at most. */
const MOST_NAMED = 100;

/**
 * Handles the groups in turn, a batch of each, until nothing is left to do. Returns false if nothing could be done, unless another
 * replica is at work.
 */
async function handleAll(
  expiring: Expiring,
  groups: readonly ExpiryGroup[],
  events: ExpiryEvents,
  isStopped: () => boolean,
): Promise<boolean> {
  const { db } = expiring;
  const lease = { job: JOB, owner: randomBytes(12).toString("base64url"), leaseMs: LEASE_MS };
  if (!(await holdJob(db, lease))) return true;
  let heldAt = performance.now();
  let done = 0;
  let unreadable = 0;
  const named: string[] = [];
  let open: { group: ExpiryGroup; after: ExpiryPosition | undefined }[] = groups.map((group) => ({
    ...{ group, after: undefined },
  }));
  try {
    while (open.length > 0) {
      const further: typeof open = [];
      for (const { group, after } of open) {
        if (isStopped()) return true;
        const startedAt = performance.now();
        if (startedAt - heldAt > RENEW_MS) {
          if (!(await holdJob(db, lease))) return true;
          heldAt = startedAt;
        }
        const batch = await expireBatch(expiring, group, after);
        events.onBatch(batch.expired, batch.notices);
        done += batch.expired + batch.notices;
        unreadable += batch.unreadable.length;
        named.push(...batch.unreadable.slice(0, MOST_NAMED - named.length));
        if (batch.last) further.push({ group, after: batch.last });
        await wait(BATCH_REST * (performance.now() - startedAt), undefined, { ref: false });
      }
      open = further;
    }
    if (unreadable > 0) events.onUnreadable(unreadable, named);
    return done > 0;
  } finally {
    await releaseJob(db, lease);
  }
}
