import { monitorEventLoopDelay } from "node:perf_hooks";

/** Over which the delay is averaged: a single slow request must not refuse the next. */
const SAMPLE_MS = 1000;
const RESOLUTION_MS = 10;

/**
 * How late the event loop is, as the mean of the last second. This reads nothing of the operating system, which fails
 * when a process has no file descriptor left.
 */
export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #sampling: NodeJS.Timeout;
  #mean = 0;

  constructor() {
    this.#histogram.enable();
    this.#sampling = setInterval(() => {
      const delay = this.#histogram.mean / 1e6 - RESOLUTION_MS;
      // Without a value there is no mean.
      this.#mean = Number.isNaN(delay) ? 0 : Math.max(0, delay);
      this.#histogram.reset();
    }, SAMPLE_MS).unref();
  }

  /** Milliseconds. */
  get mean(): number {
    return this.#mean;
  }

  stop(): void {
    clearInterval(this.#sampling);
    this.#histogram.disable();
  }
}
