import type { Retaining } from "../../src/kyc/lifecycle/erase-batch.ts";
import { startRetention } from "../../src/kyc/lifecycle/retention-job.ts";
import type { TestApp } from "./app.ts";

/** Runs the job on this replica until a look finds nothing, or a run leaves only held records. Returns the sizes of its batches. */
export async function eraseAll(
  { db, digestCustomer }: Pick<TestApp, "db" | "digestCustomer">,
  changes: Partial<Retaining> & { onBatch?: () => void } = {},
): Promise<number[]> {
  const batches: number[] = [];
  let stop: (() => Promise<void>) | undefined;
  await new Promise<void>((resolve, reject) => {
    stop = startRetention(
      { db, digestCustomer, retention: "5 years", ...changes },
      {
        onBatch: (erased) => {
          if (erased > 0) batches.push(erased);
          changes.onBatch?.();
        },
        onEnd: () => {},
        onNoneLeft: resolve,
        onFailure: reject,
      },
      { lookMs: 5, stuckMs: 50 },
    );
  });
  await stop?.();
  return batches;
}
