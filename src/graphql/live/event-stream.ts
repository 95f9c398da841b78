import { Readable } from "node:stream";
import { withinSpans } from "../../lib/span-scope.ts";
import type { StreamEnd } from "../../vocabulary.ts";

/** The source of a stream's text. */
export interface TextSource {
  /** The next text, as soon as there is one; null at the end. It does not fail. */
  next(): Promise<string | null>;
  /** Why there is no more, after the end. */
  readonly end: StreamEnd;
  /** Must be called at the end, and can be called before it. */
  close(): void;
}

/**
 * The body of an answer that goes on. It asks for a text only if its reader has taken the last one: a slow reader takes the
 * memory of one text, and gets the rest later.
 */
export class EventStream extends Readable {
  readonly #source: TextSource;
  readonly #slowAfter: number;
  readonly #onEnd: (end: StreamEnd) => void;
  /** When the last text was passed on; undefined: it was taken. Milliseconds of `performance.now()`. */
  #untakenSince: number | undefined;

  /** A reader that takes nothing for `slowAfter` milliseconds is slow, if its connection is closed then. */
  constructor(source: TextSource, slowAfter: number, onEnd: (end: StreamEnd) => void) {
    super({ highWaterMark: 1 });
    this.#source = source;
    this.#slowAfter = slowAfter;
    this.#onEnd = onEnd;
  }

  override _read(): void {
    this.#untakenSince = undefined;
    // The request is answered: its span has ended.
    void withinSpans([], () => this.#source.next()).then((text) => {
      this.#untakenSince = performance.now();
      this.push(text);
    });
  }

  override _destroy(_error: Error | null, done: (error: Error | null) => void): void {
    this.#source.close();
    const isSlow =
      !this.readableEnded &&
      this.#untakenSince !== undefined &&
      performance.now() - this.#untakenSince >= this.#slowAfter;
    this.#onEnd(isSlow ? "slow" : this.readableEnded ? this.#source.end : "client");
    // The connection ends as if the stream had: its client continues with another one.
    done(null);
  }
}
