import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { readLines } from "../lib/lines.ts";
import { FILE_MODE } from "../lib/private-files.ts";
import type { LineFault } from "./fields.ts";

/** The bad lines of an import, each with its number and what is wrong with it. */
export interface BadLine {
  line: number;
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

const NEW_REPORT = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
/** Bytes of a line of the file. */
const LONGEST = 1_000_000;

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

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Keeps what an earlier run of the same import has reported up to this line, and removes the rest, which belongs to
   * a batch that was not written. Returns how many bad lines it kept. Fails with a FaultFileError.
   */
  continueAfter(line: number): Promise<number> {
    return this.#orFail(async () => {
      const file = await open(this.path, constants.O_RDWR | constants.O_NOFOLLOW).catch((error) => {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw error;
      });
      if (!file) return 0;
      this.#file = file;
      let count = 0;
      for await (const lines of readLines(file.createReadStream({ start: 0, autoClose: false }), LONGEST)) {
        for (const { text } of lines) {
          if (text === null || !isUpTo(text, line)) continue;
          count += 1;
          this.#kept += Buffer.byteLength(text) + 1;
        }
      }
      await file.truncate(this.#kept);
      return count;
    });
  }

  /**
   * Writes the bad lines of a batch to the disk. They stay if `keep` is called before the next call. Fails with a
   * FaultFileError.
   */
  async write(lines: readonly BadLine[]): Promise<void> {
    if (lines.length === 0 && this.#written === 0) return;
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    await this.#orFail(async () => {
      this.#file ??= await open(this.path, NEW_REPORT, FILE_MODE);
      // An earlier try to write the batch has left these.
      if (this.#written > 0) await this.#file.truncate(this.#kept);
      await this.#file.write(bytes, 0, bytes.length, this.#kept);
      await this.#file.datasync();
    });
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
