import type { Expiring } from "../../src/kyc/lifecycle/expire-batch.ts";
import { startExpiry } from "../../src/kyc/lifecycle/expiry-job.ts";
import type { TestApp } from "./app.ts";

/** What a run of the job has done. */
export interface ExpiryRun {
  expired: number;
  notices: number;
  unreadable: string[];
  /** Records of the largest batch. */
  largest: number;
}

const DAY_SECONDS = 86_400;
const NOTICES = [30 * DAY_SECONDS, 7 * DAY_SECONDS];

/** Runs the job on this replica until nothing is due, or until some records can't expire. */
export async function expireAll(
  { db, keys, digestCustomer }: Pick<TestApp, "db" | "keys" | "digestCustomer">,
  changes: Partial<Expiring> = {},
): Promise<ExpiryRun> {
  const run: ExpiryRun = { expired: 0, notices: 0, unreadable: [], largest: 0 };
  let stop: (() => Promise<void>) | undefined;
  await new Promise<void>((resolve, reject) => {
    stop = startExpiry(
      { db, keys, digestCustomer, notices: NOTICES, ...changes },
      {
        onBatch: (expired, notices) => {
          run.expired += expired;
          run.notices += notices;
          run.largest = Math.max(run.largest, expired + notices);
        },
        onNoneDue: resolve,
        onUnreadable: (_records, ids) => {
          run.unreadable = [...ids];
          resolve();
        },
        onFailure: reject,
      },
      { lookMs: 5, stuckMs: 50 },
    );
  });
  await stop?.();
  return run;
}
