import type { ServerResponse } from "node:http";
import { withinSpans } from "../../lib/span-scope.ts";
import type { StreamEnd } from "../../vocabulary.ts";

/** The source of a stream's text. */
export interface TextSource {
  /** The next text, as soon as there is one; null at the end. It does not fail. */
  next(): Promise<string | null>;
  /** The memory that it takes, if that can be much. */
  readonly bytes: number;
  /** Why there is no more, after the end. */
  readonly end: StreamEnd;
  /** Must be called at the end, and can be called before it. */
  close(): void;
}

/**
 * The body of an answer that continues. It asks for a text only if its reader has taken the last one: a slow reader takes the
 * memory of one text, and gets the rest later. A gateway has thousands of them
 * open for days. It is no `Readable`, which takes three times the memory together with Fastify's listeners.
 */
export class EventStream {
  readonly #source: TextSource;
  readonly #slowAfter: number;
  readonly #onEnd: (end: StreamEnd) => void;
  /** When the last text was passed on; undefined: it was taken. Milliseconds of `performance.now()`. */
  #untakenSince: number | undefined;
  #hasEnded = false;

  /** A reader that takes nothing for `slowAfter` milliseconds is slow, if its connection is closed then. */
  constructor(source: TextSource, slowAfter: number, onEnd: (end: StreamEnd) => void) {
    this.#source = source;
    this.#slowAfter = slowAfter;
    this.#onEnd = onEnd;
  }

  get bytes(): number {
    return this.#source.bytes;
  }

  /** Sends the texts, after the headers of the answer, until there are no more or the connection is closed. */
  sendTo(response: ServerResponse): void {
    response.once("close", () => this.#close());
    if (response.destroyed) this.#close();
    // The request is answered: its span has ended.
    else withinSpans([], () => void this.#send(response));
  }

  async #send(response: ServerResponse): Promise<void> {
    for (;;) {
      const text = await this.#source.next();
      if (response.destroyed) return;
      if (text === null) break;
      this.#untakenSince = performance.now();
      if (!response.write(text)) await new Promise<void>((resolve) => response.once("drain", resolve));
      this.#untakenSince = undefined;
    }
    this.#hasEnded = true;
    response.end();
  }

  #close(): void {
    this.#source.close();
    const { end } = this.#source;
    const isSlow =
      this.#untakenSince !== undefined && performance.now() - this.#untakenSince >= this.#slowAfter;
    this.#onEnd(isSlow ? "slow" : this.#hasEnded ? end : "client");
  }
}
