/** A recurring job: what it does, when, and who hears of its failures. */
interface Recurring {
  /** `isStopped` tells it to come to an end between two steps. */
  work(isStopped: () => boolean): Promise<unknown>;
  /** From the end of one run to the next: asked anew each time. Milliseconds. */
  pause(): number;
  /** Before the first run. Default 0: at once. Milliseconds. */
  delay?: number;
  /** The next run comes as if nothing had happened. Not told of what fails once it is to end. */
  onFailure(error: unknown): void;
}

/**
 * Runs the work again and again, never twice at once, and keeps no process alive. The function that comes back ends
 * it, once the run under way has ended.
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
