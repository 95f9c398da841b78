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
   * Called if a run fails after one that succeeded, and then once an hour until one succeeds: in an outage, every run fails. The
   * next run follows as usual. Failures after the stop are not reported.
   */
  onFailure(error: unknown): void;
}

/** Stops a recurring job, and resolves when the current run has ended. */
interface StopRecurring {
  (): Promise<void>;
  /** Makes the next run begin within so many milliseconds, unless a run is in progress. */
  runWithin(milliseconds: number): void;
}

/** If every run fails, the interval of the reports. */
const REPORT_AGAIN_MS = 3_600_000;

/**
 * Runs the work repeatedly, never twice at once. Its timer does not keep the process alive. The statements of the work
 * are in no request's trace, also if a request started the job or brought a run forward.
 */
export function startRecurring({ work, pause, delay = 0, onFailure }: Recurring): StopRecurring {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let due = 0;
  let reportAt = 0;
  let running = Promise.resolve();
  const runIn = (milliseconds: number) => {
    clearTimeout(timer);
    due = performance.now() + milliseconds;
    timer = setTimeout(() => (running = withinSpans([], run)), milliseconds).unref();
  };
  const run = async () => {
    timer = undefined;
    try {
      await work(() => stopped);
      reportAt = 0;
    } catch (error) {
      if (!stopped && performance.now() >= reportAt) {
        reportAt = performance.now() + REPORT_AGAIN_MS;
        onFailure(error);
      }
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
