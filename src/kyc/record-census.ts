import { setTimeout as wait } from "node:timers/promises";
import type { Database } from "../db/client.ts";
import { startRecurring } from "../lib/recurring.ts";
import { spread } from "../lib/spread.ts";
import { VERIFICATION_STATUSES, type VerificationStatus } from "../vocabulary.ts";
import { CENSUS_START, type CensusPlace, countNext } from "./store/census.ts";

/** Upper bounds of the number of records that an account has. The last bucket has no bound. */
export const ACCOUNT_SIZES = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000];

/** The records of one status. */
interface StatusCount {
  records: number;
  /** Accounts with at least one of them, by how many they have: one number for each of `ACCOUNT_SIZES`, and one for more. */
  accounts: number[];
}

/** Every record was counted once, some time between the start and the end: those that changed meanwhile may be missed. */
export interface RecordCensus {
  byStatus: Record<VerificationStatus, StatusCount>;
  /** When it ended: epoch milliseconds. */
  endedAt: number;
  tookMs: number;
}

/** Records of the first step. The steps grow and shrink with the time that they take. */
const FIRST_STEP = 1000;
const SMALLEST_STEP = 100;
const LARGEST_STEP = 20_000;
/** How long a step should take. Milliseconds. */
const SHORT_MS = 20;
const LONG_MS = 100;
/** After each step nothing is read for this many times as long as it took: the database has 95 % of its time for others. */
const REST = 19;
/** While another replica counts: how long the first wait is, and how long the waits can become. Milliseconds. */
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 60_000;
/** From the end of one census to the start of the next: at least this, and ten times as long as it took. Milliseconds. */
const PAUSE_MS = 60_000;
const PAUSE_RATIO = 10;

/**
 * Counts the records again and again, in small steps, and with long pauses if there are many of them. Each replica does
 * so, but no two at the same moment: a replica that meets another one waits longer each time. `onCensus` gets each result.
 */
export function startCensus(
  db: Database,
  { onCensus, onFailure }: { onCensus(census: RecordCensus): void; onFailure(error: unknown): void },
): () => Promise<void> {
  const ending = new AbortController();
  let pause = PAUSE_MS;
  const work = async () => {
    const census = await takeCensus(db, ending.signal);
    if (!census) return;
    pause = Math.max(PAUSE_MS, PAUSE_RATIO * census.tookMs);
    onCensus(census);
  };
  const stop = startRecurring({ work, pause: () => pause, onFailure });
  return () => {
    ending.abort();
    return stop();
  };
}

/** Counts every record once. Undefined if the signal is aborted before the end. */
export async function takeCensus(db: Database, signal?: AbortSignal): Promise<RecordCensus | undefined> {
  const startedAt = performance.now();
  const tally = new Tally();
  let place: CensusPlace = CENSUS_START;
  let limit = FIRST_STEP;
  let patience = FIRST_WAIT_MS;
  while (!signal?.aborted) {
    const sentAt = performance.now();
    const { isAlone, groups, last } = await countNext(db, place, limit);
    const took = performance.now() - sentAt;
    if (!isAlone) {
      await rest(spread(patience, 0.5), signal);
      patience = Math.min(2 * patience, LONGEST_WAIT_MS);
      continue;
    }
    patience = FIRST_WAIT_MS;
    for (const { accountId, status, records } of groups) tally.add(accountId, status, records);
    if (last === null || groups.reduce((sum, { records }) => sum + records, 0) < limit) {
      return { byStatus: tally.end(), endedAt: Date.now(), tookMs: performance.now() - startedAt };
    }
    place = last;
    if (took > LONG_MS) limit = Math.max(SMALLEST_STEP, limit >> 1);
    else if (took < SHORT_MS) limit = Math.min(LARGEST_STEP, 2 * limit);
    await rest(REST * took, signal);
  }
  return undefined;
}

/** Sums up counts that arrive in the order of accounts, so that only those of one account are kept. */
class Tally {
  readonly #byStatus = Object.fromEntries(
    VERIFICATION_STATUSES.map((status) => [
      status,
      { records: 0, accounts: new Array(ACCOUNT_SIZES.length + 1).fill(0) },
    ]),
  ) as unknown as Record<VerificationStatus, StatusCount>;
  #account = "";
  #own = new Map<VerificationStatus, number>();

  add(account: string, status: VerificationStatus, records: number): void {
    if (account !== this.#account) this.#endAccount();
    this.#account = account;
    this.#own.set(status, (this.#own.get(status) ?? 0) + records);
  }

  end(): Record<VerificationStatus, StatusCount> {
    this.#endAccount();
    return this.#byStatus;
  }

  #endAccount(): void {
    for (const [status, records] of this.#own) {
      const count = this.#byStatus[status];
      const bucket = ACCOUNT_SIZES.findIndex((size) => records <= size);
      count.records += records;
      count.accounts[bucket === -1 ? ACCOUNT_SIZES.length : bucket] = (count.accounts.at(bucket) ?? 0) + 1;
    }
    this.#own = new Map();
  }
}

async function rest(millis: number, signal: AbortSignal | undefined): Promise<void> {
  await wait(millis, undefined, { signal, ref: false }).catch(() => {});
}
