import type { LoggedEvent } from "../context.ts";
import type { Kyc } from "./record.ts";

/** Reads a record; undefined if there is none. */
export type ReadRecord = (kycId: string) => Promise<Kyc | undefined>;

/** For how long the followers of a log share what they read of the records of its events. Milliseconds. */
const SHARED_MS = 500;
const shared = new WeakMap<
  readonly LoggedEvent[],
  { until: number; records: Map<string, Promise<Kyc | undefined>> }
>();

/** Reads records for these events, which all followers of the log get as one array: each record once in a moment. */
export function readShared(events: readonly LoggedEvent[], read: ReadRecord): ReadRecord {
  let page = shared.get(events);
  if (!page || performance.now() > page.until) {
    page = { until: performance.now() + SHARED_MS, records: new Map() };
    shared.set(events, page);
  }
  const { records } = page;
  return (kycId) => {
    const known = records.get(kycId);
    if (known) return known;
    const record = read(kycId);
    records.set(kycId, record);
    record.catch(() => records.delete(kycId));
    return record;
  };
}
