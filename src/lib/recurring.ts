/** A recurring job. */
interface Recurring {
  /** If `isStopped` returns true, the work should end at its next step. */
  work(isStopped: () => boolean): Promise<unknown>;
  /** The time from the end of one run to the next; called after each run. Milliseconds. */
  pause(): number;
  /** The time before the first run. Default 0. Milliseconds. */
  delay?: number;
  /** Called if a run fails. The next run follows as usual. Failures after the stop are not reported. */
  onFailure(error: unknown): void;
}

/**
 * Runs the work repeatedly, never twice at once. Its timer does not keep the process alive. The returned function stops
 * it and resolves when the current run has ended.
 */
export function startRecurring({ work, pause, delay = 0, onFailure }: Recurring): () => Promise<void> {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let running = Promise.resolve();
  const runIn = (milliseconds: number) => {
    timer = setTimeout(() => (running = run()), milliseconds).unref();
  };
  const run = async () => {
    await work(() => stopped).catch((error) => {
      if (!stopped) onFailure(error);
    });
    if (!stopped) runIn(pause());
  };
  runIn(delay);
  return async () => {
    stopped = true;
    clearTimeout(timer);
    await running;
  };
}
