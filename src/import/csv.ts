import { CsvError, parse } from "csv-parse/sync";
import type { FieldName } from "../kyc/fields.ts";
import { fromCsvCell } from "../lib/csv.ts";
import type { Line } from "../lib/lines.ts";
import { describeName, type RawValues, type SourceEntry, toFieldName } from "./fields.ts";
import { END_ID, type EndEntry, isOwnExport, readEnd } from "./own-export.ts";
import { SourceError } from "./source-error.ts";
import { findSpreadsheetFaults } from "./spreadsheet.ts";

/** Fields without which no line can be a record. */
const REQUIRED: readonly FieldName[] = ["customerId", "verificationStatus", "documentType", "documentNumber"];
const DELIMITERS = [",", ";", "\t", "|"] as const;
/** The maximum number of lines of one record: a quoted cell of a column that is ignored can have line ends. */
const MOST_LINES = 100;

const QUOTES_ARE_WRONG = "has quotes in the wrong places";

interface Header {
  delimiter: string;
  /** The field of each column; undefined for a column that is left out. */
  fields: readonly (FieldName | undefined)[];
  /** The columns that have no name: a spreadsheet writes empty ones. */
  nameless: ReadonlySet<number>;
  /** The columns that each row must have: spreadsheets leave out the delimiters of empty ones behind the last name. */
  least: number;
  isOwnExport: boolean;
}

type CsvEntry = SourceEntry | EndEntry;

/**
 * Reads the records of CSV (RFC 4180). The first line has the names of the columns and shows the delimiter. A line whose
 * quotes don't match is one bad line, and the next line is read as usual.
 */
export class CsvReader {
  readonly #header: Header;
  /** The lines of a record that may continue. */
  #open: Line[] = [];

  /**
   * `delimiter` is undefined if the header shows it. Fails with a SourceError if the header is none, or, unless
   * `ignoresUnknown`, if a column is no field of a record.
   */
  constructor(header: Line, delimiter: string | undefined, ignoresUnknown: boolean) {
    this.#header = readHeader(header, delimiter, ignoresUnknown);
  }

  get isOwnExport(): boolean {
    return this.#header.isOwnExport;
  }

  /** The records of these lines, except for a last one that may continue in further lines. */
  read(lines: readonly Line[], isEnd = false): CsvEntry[] {
    const all = [...this.#open, ...lines];
    this.#open = [];
    const entries: CsvEntry[] = [];
    let single: Line[] = [];
    const takeSingle = () => {
      entries.push(...this.#readSingle(single));
      single = [];
    };
    for (let at = 0; at < all.length; at++) {
      const line = all[at] as Line;
      if (line.text === "") continue;
      if (line.text === null || hasEvenQuotes(line.text)) {
        single.push(line);
        continue;
      }
      takeSingle();
      const end = findEnd(all, at);
      if (end === undefined && !isEnd && all.length - at < MOST_LINES) {
        this.#open = all.slice(at);
        return entries;
      }
      const whole = end === undefined ? undefined : this.#readSeveral(all.slice(at, end + 1));
      entries.push(whole ?? { line: line.number, faults: [{ message: QUOTES_ARE_WRONG }] });
      if (whole) at = end as number;
    }
    takeSingle();
    return entries;
  }

  /** Records of one line each. They are parsed together, which takes a fifth of the time, and singly if that fails. */
  #readSingle(lines: readonly Line[]): CsvEntry[] {
    const whole = lines.filter((line): line is Line & { text: string } => line.text !== null);
    const rows = this.#parse(whole.map(({ text }) => text).join("\n"));
    const rowOf = new Map(
      rows?.length === whole.length ? whole.map((line, index) => [line, rows[index]]) : [],
    );
    return lines.flatMap((line) => {
      if (line.text === null) return { line: line.number, faults: [{ message: line.fault as string }] };
      const row = rowOf.get(line as Line & { text: string }) ?? this.#parse(line.text)?.[0];
      if (!row) return { line: line.number, faults: [{ message: QUOTES_ARE_WRONG }] };
      // Spreadsheets write rows of delimiters alone behind the last record.
      return row.every(isBlank) ? [] : this.#toEntry(line.number, row);
    });
  }

  /** A record of several lines; undefined if they are none, because only ignored columns can have line ends. */
  #readSeveral(lines: readonly Line[]): CsvEntry | undefined {
    const rows = this.#parse(lines.map(({ text }) => text).join("\n"));
    const row = rows?.length === 1 ? rows[0] : undefined;
    if (row?.length !== this.#header.fields.length) return undefined;
    if (row.some((cell, index) => this.#header.fields[index] !== undefined && cell.includes("\n")))
      return undefined;
    return this.#toEntry((lines[0] as Line).number, row);
  }

  #toEntry(line: number, row: readonly string[]): CsvEntry {
    const { fields, nameless, least } = this.#header;
    if (row.length < least || !row.slice(fields.length).every(isBlank)) {
      return { line, faults: [{ message: `has ${row.length} columns instead of ${fields.length}` }] };
    }
    for (const column of nameless) {
      if (!isBlank(row[column] ?? ""))
        return { line, faults: [{ message: `has a value in column ${column + 1}, which has no name` }] };
    }
    if (row[fields.indexOf("id")] === END_ID)
      return readEnd(line, parseEnd(row[fields.indexOf("customerId")]));
    const values: RawValues = {};
    for (const [index, field] of fields.entries()) {
      // An empty cell is an absent value.
      if (field !== undefined && row[index] !== "") values[field] = fromCsvCell(row[index] as string);
    }
    const faults = findSpreadsheetFaults(values);
    return faults.length > 0 ? { line, faults } : { line, values };
  }

  #parse(text: string): string[][] | undefined {
    return parseRows(text, this.#header.delimiter);
  }
}

function parseEnd(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
}

function parseRows(text: string, delimiter: string): string[][] | undefined {
  try {
    return parse(text, { delimiter, record_delimiter: "\n", relax_column_count: true });
  } catch (error) {
    if (error instanceof CsvError) return undefined;
    throw error;
  }
}

const isBlank = (cell: string) => cell.trim() === "";

const hasEvenQuotes = (text: string) => (text.split('"').length - 1) % 2 === 0;

/** The line with which a record ends whose first line has an open quote; undefined if it does not end in these lines. */
function findEnd(lines: readonly Line[], start: number): number | undefined {
  const most = Math.min(lines.length, start + MOST_LINES);
  for (let at = start + 1; at < most; at++) {
    const { text } = lines[at] as Line;
    if (text === null) return undefined;
    if (!hasEvenQuotes(text)) return at;
  }
  return undefined;
}

function readHeader({ text, fault }: Line, given: string | undefined, ignoresUnknown: boolean): Header {
  if (text === null) throw new SourceError(`the first line ${fault}`);
  const delimiter =
    given ??
    DELIMITERS.reduce((best, sign) => (text.split(sign).length > text.split(best).length ? sign : best));
  const [names = []] = parseRows(text, delimiter) ?? [];
  const fields = names.map(toFieldName);
  const missing = REQUIRED.filter((field) => !fields.includes(field));
  if (missing.length > 0) {
    throw new SourceError(
      `the first line must have the names of the columns. It lacks ${missing.join(", ")}`,
    );
  }
  const twice = fields.filter((field, index) => field !== undefined && fields.indexOf(field) !== index);
  if (twice.length > 0) throw new SourceError(`the file has the column ${twice.join(", ")} twice`);
  const nameless = new Set(names.flatMap((name, index) => (isBlank(name) ? [index] : [])));
  const unknown = names.filter((_, index) => fields[index] === undefined && !nameless.has(index));
  if (unknown.length > 0 && !ignoresUnknown) {
    throw new SourceError(
      `no record has the columns ${unknown.map(describeName).join(", ")}: leave them out with --ignore-unknown`,
    );
  }
  const least = names.findLastIndex((name) => !isBlank(name)) + 1;
  return { delimiter, fields, nameless, least, isOwnExport: isOwnExport(names) };
}
