import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { extname } from "node:path";
import { type Line, readLines } from "../lib/lines.ts";
import { CsvReader } from "./csv.ts";
import type { SourceEntry } from "./fields.ts";
import { NdjsonReader } from "./ndjson.ts";
import { checkEnds, type EndEntry } from "./own-export.ts";
import { SourceError } from "./source-error.ts";
import { readSeparator } from "./spreadsheet.ts";

export type FileFormat = "csv" | "ndjson";

/** Bytes. Each value of a record has at most 512. */
const LONGEST_LINE = 16_384;
const CHUNK = 65_536;

const FORMATS: { [extension: string]: FileFormat | undefined } = {
  ".csv": "csv",
  ".tsv": "csv",
  ".ndjson": "ndjson",
  ".jsonl": "ndjson",
};

/** The format that the file's name tells; undefined: it tells none. */
export const formatOf = (file: string): FileFormat | undefined => FORMATS[extname(file).toLowerCase()];

/** The file to read, and how. */
export interface SourceOptions {
  /** A path, or `-` for standard input. */
  file: string;
  /** Undefined: the name of the file says it, or its beginning. */
  format?: FileFormat | undefined;
  ignoresUnknown: boolean;
}

/** A file of records. */
export interface RecordSource {
  /** Bytes; undefined if it is not known. */
  size: number | undefined;
  /** How many bytes have been read. */
  read: () => number;
  /** The records and bad lines in their order. Fails with a SourceError if it can't be read as records. */
  entries: AsyncIterable<SourceEntry[]>;
}

/** Opens a file of records. Fails if it can't be read. */
export async function openSource(options: SourceOptions): Promise<RecordSource> {
  const { file } = options;
  const size = file === "-" ? undefined : (await stat(file)).size;
  let bytes = 0;
  async function* chunks(): AsyncGenerator<Buffer> {
    for await (const chunk of openFile(file)) {
      if (bytes === 0) refuseOtherFormats(chunk);
      bytes += chunk.length;
      yield chunk;
    }
  }
  return { size, read: () => bytes, entries: readEntries(readLines(chunks(), LONGEST_LINE), options) };
}

/** The SHA-256 of a file. */
export async function hashFile(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of openFile(file)) hash.update(chunk);
  return hash.digest("base64url");
}

const openFile = (file: string): AsyncIterable<Buffer> =>
  file === "-" ? process.stdin : createReadStream(file, { highWaterMark: CHUNK });

/** The first bytes of files that only look as if they were broken in each line. */
const OTHERS: readonly [bytes: string, advice: string][] = [
  ["1f8b", "is compressed: gunzip -c FILE | kyc-gateway import - …"],
  ["504b0304", "is a spreadsheet or an archive: save it as CSV in UTF-8"],
  ["fffe", "is UTF-16: save it as UTF-8"],
  ["feff", "is UTF-16: save it as UTF-8"],
];

function refuseOtherFormats(chunk: Buffer): void {
  const start = chunk.subarray(0, 4).toString("hex");
  const other = OTHERS.find(([bytes]) => start.startsWith(bytes));
  if (other) throw new SourceError(`the file ${other[1]}`);
  // UTF-16 without a byte order mark.
  if (chunk.subarray(0, 4).includes(0))
    throw new SourceError("the file is no text in UTF-8: save it as UTF-8");
}

/** Reads the entries once the beginning has shown how. */
function readEntries(chunks: AsyncIterable<Line[]>, options: SourceOptions): AsyncIterable<SourceEntry[]> {
  const { file, format, ignoresUnknown } = options;
  let reader: CsvReader | NdjsonReader | undefined;
  let separator: string | undefined;
  async function* read(): AsyncGenerator<(SourceEntry | EndEntry)[]> {
    for await (const chunk of chunks) {
      let lines = chunk;
      if (!reader) {
        const start = lines.findIndex(({ text }) => {
          separator ??= readSeparator(text);
          return text?.trim() !== "" && readSeparator(text) === undefined;
        });
        if (start < 0) continue;
        const first = lines[start] as Line;
        const found = format ?? formatOf(file) ?? guessFormat(first);
        if (found === "ndjson") refuseJsonArray(first);
        lines = lines.slice(found === "csv" ? start + 1 : start);
        reader =
          found === "csv"
            ? new CsvReader(first, separator, ignoresUnknown)
            : new NdjsonReader(ignoresUnknown);
      }
      yield reader.read(lines);
    }
    if (!reader) throw new SourceError("the file is empty");
    if (reader instanceof CsvReader) yield reader.read([], true);
  }
  return checkEnds(read(), () => reader?.isOwnExport ?? false);
}

const IS_ARRAY = "the file is a JSON array. Each record must be an object in a line of its own: jq -c '.[]'";
const isArray = (text: string | null) => text?.trimStart().startsWith("[") ?? false;

/** Refuses an array over several lines. One in a line of its own is a bad line, as any other. */
function refuseJsonArray({ text }: Line): void {
  if (!isArray(text)) return;
  try {
    JSON.parse(text as string);
  } catch {
    throw new SourceError(IS_ARRAY);
  }
}

function guessFormat({ text }: Line): FileFormat {
  if (isArray(text)) throw new SourceError(IS_ARRAY);
  return text?.trimStart().startsWith("{") ? "ndjson" : "csv";
}
