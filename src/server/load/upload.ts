import type { IncomingMessage } from "node:http";
import { RequestRefusal } from "../../errors.ts";

type Done = (error: Error | null, body?: Buffer) => void;

const EMPTY = Buffer.alloc(0);
/** Size of the first buffer for a body of unknown length. */
const SMALLEST_BYTES = 1024;
const TOO_LARGE = new RequestRefusal(413, "body_too_large", "The body is larger than this server takes.");

/**
 * The body of a request, from its arrival until it is released. It is in one buffer, because Node uses about 350 bytes for
 * each chunk, even if the chunk has one byte.
 */
export class Upload {
  readonly #request: IncomingMessage;
  readonly #limit: number;
  readonly #onSize: (bytes: number) => void;
  /** `Content-Length` in bytes; NaN if there is none. */
  readonly #expected: number;
  #buffer: Buffer = EMPTY;
  #length = 0;
  #state: "arriving" | "complete" | "failed" | "released" = "arriving";
  #failure: Error | undefined;
  #done: Done | undefined;

  /** Begins to read. `onSize` is called with the size of the buffer in bytes whenever it changes. */
  constructor(request: IncomingMessage, limit: number, onSize: (bytes: number) => void) {
    this.#request = request;
    this.#limit = limit;
    this.#onSize = onSize;
    this.#expected = Number(request.headers["content-length"]);
    request.on("data", this.#add).on("end", this.#complete).on("error", this.#fail);
    if (this.#expected > limit) this.#fail(TOO_LARGE);
  }

  get isArriving(): boolean {
    return this.#state === "arriving";
  }

  /** Calls back with the body once it is complete, or with the reason why it will never be. */
  take(done: Done): void {
    this.#done = done;
    if (this.#state !== "arriving") this.#settle();
  }

  /** Gives up a body that is still arriving: its request fails with this error. */
  refuse(failure: Error): void {
    this.#fail(failure);
  }

  /** Releases the body. What still arrives is discarded. */
  release(): void {
    if (this.#state === "released") return;
    this.#stop("released");
  }

  readonly #add = (chunk: Buffer): void => {
    const length = this.#length + chunk.length;
    if (length > this.#limit) {
      this.#fail(TOO_LARGE);
      return;
    }
    if (this.#length === 0 && length === this.#expected) {
      this.#setBuffer(chunk);
    } else {
      if (length > this.#buffer.length) this.#grow(length);
      chunk.copy(this.#buffer, this.#length);
    }
    this.#length = length;
  };

  #grow(length: number): void {
    const size = Math.min(Math.max(length, 2 * this.#buffer.length, SMALLEST_BYTES), this.#limit);
    const larger = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#setBuffer(larger);
  }

  #setBuffer(buffer: Buffer): void {
    this.#buffer = buffer;
    this.#onSize(buffer.length);
  }

  readonly #complete = (): void => {
    if (this.#state !== "arriving") return;
    this.#state = "complete";
    this.#settle();
  };

  readonly #fail = (failure: Error): void => {
    if (this.#state !== "arriving") return;
    this.#failure = failure;
    this.#stop("failed");
    this.#settle();
  };

  #stop(state: "failed" | "released"): void {
    this.#state = state;
    // The listener for errors stays: without one, a client that goes away would be an uncaught error.
    this.#request.off("data", this.#add).off("end", this.#complete).resume();
    this.#length = 0;
    this.#setBuffer(EMPTY);
  }

  #settle(): void {
    const done = this.#done;
    this.#done = undefined;
    if (this.#state === "complete") done?.(null, this.#buffer.subarray(0, this.#length));
    else if (this.#failure) done?.(this.#failure);
  }
}
