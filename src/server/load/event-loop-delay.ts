import { monitorEventLoopDelay } from "node:perf_hooks";

/** The delay is averaged over this time, so that a single slow request does not cause refusals. */
const SAMPLE_MS = 1000;
const RESOLUTION_MS = 10;

/**
 * The delay of the event loop, as the mean of the last second. It opens no files, so it works if the process has no file
 * descriptor left.
 */
export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #sampling: NodeJS.Timeout;
  #mean = 0;

  constructor() {
    this.#histogram.enable();
    this.#sampling = setInterval(() => {
      const delay = this.#histogram.mean / 1e6 - RESOLUTION_MS;
      // The mean of no values is NaN.
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
