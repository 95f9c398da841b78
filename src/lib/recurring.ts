import { withinSpans } from "./span-scope.ts";

/** A recurring job. */
interface Recurring {
  /** If `isStopped` returns true, the work should end at its next step. */
  work(isStopped: () => boolean): Promise<unknown>;
  /** The time from the end of one run to the next; called after each run. Milliseconds. */
  pause(): number;
  /** The time before the first run. Default 0. Milliseconds. */
  delay?: number;
  /**
   * Called if a run fails, but for the same reason only once an hour until a run succeeds, and for five reasons an hour at most:
   * in an outage, every run fails. The next run follows as usual. Failures after the stop are not reported.
   */
  onFailure(error: unknown): void;
}

/** Stops a recurring job, and resolves when the current run has ended. */
interface StopRecurring {
  (): Promise<void>;
  /** Makes the next run begin within so many milliseconds, unless a run is in progress. */
  runWithin(milliseconds: number): void;
}

/** If every run fails, the interval of the reports of one reason. */
const REPORT_AGAIN_MS = 3_600_000;
/** Reasons that are reported in that time. A text can differ each time, by a number or an address. */
const MOST_REASONS = 5;
/** The number of causes, each of the one before, that tell reasons apart. */
const CAUSES = 3;

/** The error's message and those of its causes. */
function reasonOf(error: unknown, causes = CAUSES): string {
  if (!(error instanceof Error)) return String(error);
  return causes > 0 && error.cause ? `${error.message}: ${reasonOf(error.cause, causes - 1)}` : error.message;
}

/**
 * Runs the work repeatedly, never twice at once. Its timer does not keep the process alive. The statements of the work
 * are in no request's trace, also if a request started the job or brought a run forward.
 */
export function startRecurring({ work, pause, delay = 0, onFailure }: Recurring): StopRecurring {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let due = 0;
  const reported = new Set<string>();
  let reportAgainAt = 0;
  let running = Promise.resolve();
  const runIn = (milliseconds: number) => {
    clearTimeout(timer);
    due = performance.now() + milliseconds;
    timer = setTimeout(() => (running = withinSpans([], run)), milliseconds).unref();
  };
  const report = (error: unknown) => {
    if (performance.now() >= reportAgainAt) reported.clear();
    const reason = reasonOf(error);
    if (reported.has(reason) || reported.size >= MOST_REASONS) return;
    if (reported.size === 0) reportAgainAt = performance.now() + REPORT_AGAIN_MS;
    reported.add(reason);
    onFailure(error);
  };
  const run = async () => {
    timer = undefined;
    try {
      await work(() => stopped);
      reported.clear();
    } catch (error) {
      if (!stopped) report(error);
    }
    if (!stopped) runIn(pause());
  };
  runIn(delay);
  const stop = async () => {
    stopped = true;
    clearTimeout(timer);
    await running;
  };
  const runWithin = (milliseconds: number) => {
    if (timer && !stopped && performance.now() + milliseconds < due) runIn(milliseconds);
  };
  return Object.assign(stop, { runWithin });
}
