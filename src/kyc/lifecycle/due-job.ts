import { randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import type { Database } from "../../db/client.ts";
import { holdJob, releaseJob } from "../../db/job-lease.ts";
import { startRecurring } from "../../lib/recurring.ts";
import { spread } from "../../lib/spread.ts";

/** After the death of a replica, another one goes on after so long. Milliseconds. */
const LEASE_MS = 15_000;
const RENEW_MS = 5000;
/** After a look, nothing is read for at least so many times as long as it took, but no longer than this. Milliseconds. */
const LOOK_REST = 10;
const LONGEST_REST_MS = 10_000;
/** After a batch, nothing is done for so many times as long as it took: the database has most of its time for others. */
const BATCH_REST = 3;
/** A group whose batch fails is left to the next run, so that the others do not wait for it. After so many, the run ends. */
const MOST_FAILURES = 3;

/** The pauses of a job. Milliseconds. */
export interface DueTiming {
  /** From one look for records that are due to the next. */
  lookMs: number;
  /** The same after a run that could do nothing: it failed, or nothing of what is due can be done now. */
  stuckMs: number;
}

/** A job that does something to records whose time has come. */
interface DueJob<Group, Position> {
  db: Database;
  /** The name of its lease. */
  job: string;
  timing: DueTiming;
  /** The groups of records in which some are due. */
  look(): Promise<readonly Group[]>;
  /** Begins a run, in which this replica alone does the job. */
  begin(): DueRun<Group, Position>;
  /** No record is due now. */
  onNoneDue(): void;
  onFailure(error: unknown): void;
}

interface DueRun<Group, Position> {
  /** Handles a batch of a group after a position. Returns how much was done, and the last position if more records may be due. */
  batch(group: Group, after: Position | undefined): Promise<{ done: number; last: Position | undefined }>;
  /** Called once every record that was due has been looked at. */
  onEnd(): void;
}

/**
 * Starts a job that all replicas look for, and that one of them at a time does, in batches with pauses, a batch of each group
 * in turn. A batch must repeat its conditions in what it writes: a replica may die or stall at any moment. The returned
 * function stops the job.
 */
export function startDueJob<Group, Position>(job: DueJob<Group, Position>): () => Promise<void> {
  const { timing } = job;
  let pause = timing.lookMs;
  return startRecurring({
    work: async (isStopped) => {
      pause = timing.stuckMs;
      const startedAt = performance.now();
      const due = await job.look();
      const rest = Math.min(LOOK_REST * (performance.now() - startedAt), LONGEST_REST_MS);
      const lookMs = Math.max(timing.lookMs, rest);
      if (due.length === 0) job.onNoneDue();
      const isProgressing = due.length === 0 || (await handleAll(job, due, isStopped));
      if (isProgressing) pause = lookMs;
    },
    pause: () => spread(pause, 0.25),
    onFailure: job.onFailure,
  });
}

/**
 * The groups in their order, from a random one on and then from the first. A run ends after a few failures: if it always
 * began with the same groups, and their batches always failed, the later groups would never have a turn.
 */
function beginAnywhere<Group>(groups: readonly Group[]): Group[] {
  const first = Math.floor(Math.random() * groups.length);
  return [...groups.slice(first), ...groups.slice(0, first)];
}

/**
 * Handles the groups in turn, a batch of each, until nothing is left to do. Returns false if nothing could be done, unless
 * another replica is at work.
 */
async function handleAll<Group, Position>(
  { db, job, begin }: DueJob<Group, Position>,
  groups: readonly Group[],
  isStopped: () => boolean,
): Promise<boolean> {
  const lease = { job, owner: randomBytes(12).toString("base64url"), leaseMs: LEASE_MS };
  if (!(await holdJob(db, lease))) return true;
  let heldAt = performance.now();
  let done = 0;
  const failures: unknown[] = [];
  const run = begin();
  let open: { group: Group; after: Position | undefined }[] = beginAnywhere(groups).map((group) => ({
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
        const batch = await run.batch(group, after).catch((error) => {
          failures.push(error);
          if (failures.length === MOST_FAILURES) throw failures[0];
          return { done: 0, last: undefined };
        });
        done += batch.done;
        if (batch.last !== undefined) further.push({ group, after: batch.last });
        await wait(BATCH_REST * (performance.now() - startedAt), undefined, { ref: false });
      }
      open = further;
    }
    if (failures.length > 0) throw failures[0];
    run.onEnd();
    return done > 0;
  } finally {
    await releaseJob(db, lease);
  }
}
