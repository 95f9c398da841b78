import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { readLines } from "../lib/lines.ts";
import { FILE_MODE } from "../lib/private-files.ts";
import type { LineFault } from "./fields.ts";

/** The bad lines of an import, each with its number and what is wrong with it. */
export interface BadLine {
  line: number;
  /** The id of the record, if the source has no lines to look at. */
  id?: string | undefined;
  faults: readonly LineFault[];
}

/** The report can't be read or written. Nothing of the lines that it lacks is imported. */
export class FaultFileError extends Error {
  override readonly name = "FaultFileError";

  constructor(path: string, cause: unknown) {
    super(`the bad lines can't be kept in ${path}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

/** Bytes of a line of the file. */
const LONGEST = 1_000_000;
/** How each line of a report begins. */
const START = '{"line":';

/**
 * The file that names the bad lines, one JSON object in each line, in their order. It is made with the first of them, and
 * only its owner can read it. It contains no value of a record.
 */
export class FaultFile {
  readonly path: string;
  #file: FileHandle | undefined;
  /** Bytes that stay: those of bad lines whose batches are written. */
  #kept = 0;
  #written = 0;
  /** Whether the file may have other lines than those that stay. */
  #isUnsure = true;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Keeps what an earlier run of the same import has reported up to this line. The next `write` removes the rest, which
   * belongs to a batch that was not written. Returns how many bad lines it kept. Fails with a FaultFileError.
   */
  continueAfter(line: number): Promise<number> {
    return this.#orFail(async () => {
      const file = await this.#open(false);
      if (!file) return 0;
      let count = 0;
      let isKept = true;
      // To the end: a stream that is left would close the file.
      for await (const lines of readLines(file.createReadStream({ start: 0, autoClose: false }), LONGEST)) {
        for (const { text } of lines) {
          isKept &&= text !== null && isUpTo(text, line);
          if (!isKept) break;
          count += 1;
          this.#kept += Buffer.byteLength(text as string) + 1;
        }
      }
      return count;
    });
  }

  /**
   * Writes the bad lines of a batch to the disk. They stay if `keep` is called before the next call. Must be called while no
   * other process can write a batch of the same import. Fails with a FaultFileError.
   */
  async write(lines: readonly BadLine[]): Promise<void> {
    if (lines.length === 0 && this.#written === 0 && !this.#isUnsure) return;
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    await this.#orFail(async () => {
      const file = await this.#open(lines.length > 0);
      if (!file) return;
      if ((await file.stat()).size > this.#kept) await file.truncate(this.#kept);
      for (let at = 0; at < bytes.length; ) {
        // With little room on the disk, a part is written.
        const { bytesWritten } = await file.write(bytes, at, bytes.length - at, this.#kept + at);
        at += bytesWritten;
      }
      await file.datasync();
    });
    this.#isUnsure = false;
    this.#written = bytes.length;
  }

  /** The batch of the last `write` is written. */
  keep(): void {
    this.#kept += this.#written;
    this.#written = 0;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  /** The file; undefined if there is none and it is not to be made. Fails if it is something else than a report. */
  async #open(isToBeMade: boolean): Promise<FileHandle | undefined> {
    if (this.#file) return this.#file;
    const mode = constants.O_RDWR | constants.O_NOFOLLOW | (isToBeMade ? constants.O_CREAT : 0);
    const file = await open(this.path, mode, FILE_MODE).catch((error) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT" && !isToBeMade) return undefined;
      throw error;
    });
    if (!file) return undefined;
    this.#file = file;
    if (!(await file.stat()).isFile()) return file;
    const { bytesRead, buffer } = await file.read(Buffer.alloc(START.length), 0, START.length, 0);
    if (bytesRead > 0 && buffer.toString() !== START) {
      throw new Error("it is there already, and is no report of bad lines");
    }
    return file;
  }

  async #orFail<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw new FaultFileError(this.path, error);
    }
  }
}

function isUpTo(text: string, line: number): boolean {
  try {
    const entry = JSON.parse(text) as Partial<BadLine> | null;
    return typeof entry?.line === "number" && entry.line <= line;
  } catch {
    return false;
  }
}
