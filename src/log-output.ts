import { write, writeSync } from "node:fs";
import type { DestinationStream } from "pino";

/** Lines are written in batches of this size, because writing a line takes longer than creating it. Characters. */
const GATHERED = 16_000;
const GATHER_MS = 100;
/** Pause before writing again to a pipe whose reader is slow. */
const RETRY_MS = 100;
/** How long the end of the process waits for a slow reader. */
const LAST_FLUSH_MS = 500;

const NEWLINE = 10;

/**
 * Writes log lines to a file descriptor. Nothing waits for it: lines that can't be written now are kept, up to `limit`
 * characters in addition to the running write, and further lines are lost. Lines are also lost if a write fails, as on a
 * full disk or without a reader; later lines are tried again. `onLost` is called with the number of lost lines. When the
 * process ends, the rest is written if that takes no longer than half a second.
 */
export class LogOutput implements DestinationStream {
  readonly #fd: number;
  readonly #limit: number;
  readonly #onLost: (lines: number) => void;
  #waiting = "";
  /** The rest of the running write. */
  #writing: Buffer | undefined;
  /** Whether the operating system is writing now, as opposed to waiting for the next attempt. */
  #isInKernel = false;
  #timer: NodeJS.Timeout | undefined;
  /** Whether the last line was written only partly. */
  #isTorn = false;

  constructor(fd: number, limit: number, onLost: (lines: number) => void) {
    this.#fd = fd;
    this.#limit = limit;
    this.#onLost = onLost;
    process
      .prependListener("beforeExit", () => this.#begin())
      .prependListener("exit", () => this.#flushAtExit());
  }

  write(line: string): void {
    if (this.#waiting.length + line.length > this.#limit) {
      this.#onLost(1);
      return;
    }
    this.#waiting += line;
    if (this.#waiting.length >= GATHERED) this.#begin();
    else this.#timer ??= setTimeout(() => this.#begin(), GATHER_MS).unref();
  }

  /** Starts writing the waiting lines, unless a write is running. */
  #begin(): void {
    if (this.#writing) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting === "") return;
    this.#writing = Buffer.from(this.#take());
    this.#goOn(this.#writing);
  }

  #goOn(rest: Buffer): void {
    this.#isInKernel = true;
    write(this.#fd, rest, (error, written) => {
      this.#isInKernel = false;
      if (error && isBusy(error)) {
        setTimeout(() => this.#goOn(rest), RETRY_MS).unref();
        return;
      }
      const left = error ? rest : this.#count(rest, written);
      if (!error && left.length > 0) {
        this.#writing = left;
        this.#goOn(left);
        return;
      }
      this.#lose(left);
      this.#writing = undefined;
      if (this.#waiting.length >= GATHERED) this.#begin();
      else if (this.#waiting !== "") this.#timer ??= setTimeout(() => this.#begin(), GATHER_MS).unref();
    });
  }

  #take(): string {
    // End the partly written line; otherwise the first line would be appended to it.
    const text = this.#isTorn ? `\n${this.#waiting}` : this.#waiting;
    this.#waiting = "";
    return text;
  }

  /** Records the progress of a write and returns the rest. */
  #count(bytes: Buffer, written: number): Buffer {
    if (written > 0) this.#isTorn = bytes[written - 1] !== NEWLINE;
    return bytes.subarray(written);
  }

  #lose(bytes: Buffer): void {
    // A newline at the start ends the previous line, which has been written.
    const lines = bytes.subarray(1).filter((byte) => byte === NEWLINE).length;
    if (lines > 0) this.#onLost(lines);
  }

  #flushAtExit(): void {
    // Don't write again what the operating system is writing now.
    const begun = this.#isInKernel ? Buffer.alloc(0) : (this.#writing ?? Buffer.alloc(0));
    let rest = Buffer.concat([begun, Buffer.from(this.#take())]);
    const until = performance.now() + LAST_FLUSH_MS;
    const sleeper = new Int32Array(new SharedArrayBuffer(4));
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(this.#fd, rest));
      } catch (error) {
        if (!isBusy(error as NodeJS.ErrnoException) || performance.now() > until) return;
        Atomics.wait(sleeper, 0, 0, 10);
      }
    }
  }
}

const isBusy = ({ code }: NodeJS.ErrnoException): boolean => code === "EAGAIN" || code === "EBUSY";
