import { setTimeout as wait } from "node:timers/promises";
import type { Database } from "../db/client.ts";
import { withRetries } from "../db/retry.ts";
import { startRecurring } from "../lib/recurring.ts";
import { type RecordKey, settleStatusSince } from "./store/status-since.ts";

/** Records of one step. Other writes may have to wait for one step. */
const STEP = 200;
/** From the end of one run to the start of the next: a replica of release 0.2 can change records at any time. Milliseconds. */
const PAUSE_MS = 30_000;

/**
 * Repeatedly finds out since when records that an earlier release wrote have their status. Each replica does so, and several
 * can at once. `onSettled` gets the number of records of each run that found any.
 */
export function startSettlingStatusSince(
  db: Database,
  { onSettled, onFailure }: { onSettled(records: number): void; onFailure(error: unknown): void },
): () => Promise<void> {
  return startRecurring({
    work: async (isStopped) => {
      const settled = await settleAll(db, isStopped);
      if (settled > 0) onSettled(settled);
    },
    pause: () => PAUSE_MS,
    onFailure,
  });
}

/** Visits all such records once, in small steps, with a pause after each that is as long as it took. Returns their number. */
export async function settleAll(db: Database, isStopped = () => false): Promise<number> {
  let settled = 0;
  for (let after: RecordKey | undefined = { accountId: "", id: "" }; after && !isStopped(); ) {
    const start: RecordKey = after;
    const startedAt = performance.now();
    const records = await withRetries(() => settleStatusSince(db, start, STEP));
    settled += records.length;
    after = records.length === 0 ? undefined : records.at(-1);
    if (after) await wait(performance.now() - startedAt, undefined, { ref: false });
  }
  return settled;
}
