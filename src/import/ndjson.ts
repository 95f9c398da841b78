import type { Line } from "../lib/lines.ts";
import { describeName, type LineFault, type RawValues, type SourceEntry, toFieldName } from "./fields.ts";
import { END_ID, type EndEntry, isOwnExport, readEnd } from "./own-export.ts";

/** Reads the records of NDJSON: one JSON object in each line. */
export class NdjsonReader {
  readonly #ignoresUnknown: boolean;
  /** Whether the first object is a record of an export; undefined: there was none yet. */
  #isOwnExport: boolean | undefined;

  constructor(ignoresUnknown: boolean) {
    this.#ignoresUnknown = ignoresUnknown;
  }

  get isOwnExport(): boolean {
    return this.#isOwnExport ?? false;
  }

  read(lines: readonly Line[]): (SourceEntry | EndEntry)[] {
    return lines.flatMap((line) => (line.text?.trim() === "" ? [] : [this.#readOne(line)]));
  }

  #readOne({ number, text, fault }: Line): SourceEntry | EndEntry {
    if (text === null) return { line: number, faults: [{ message: fault as string }] };
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return { line: number, faults: [{ message: "is not JSON" }] };
    }
    if (hasRepeatedKey(text, value)) return { line: number, faults: [{ message: "has a field twice" }] };
    if (isObject(value)) {
      this.#isOwnExport ??= isOwnExport(Object.keys(value));
      if (END_ID in value && Object.keys(value).length === 1) return readEnd(number, value[END_ID]);
    }
    return toEntry(number, value, this.#ignoresUnknown);
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Each string of a JSON text, with the colon behind it if it is a key, and each bracket. */
const TOKENS = /"(?:[^"\\]|\\.)*"(\s*:)?|[[\]{}]/g;

/** Whether the text of an object has a key twice, nested objects apart: the parser keeps the last, and the other can be the right one. */
function hasRepeatedKey(text: string, value: unknown): boolean {
  if (!isObject(value)) return false;
  let [keys, depth] = [0, 0];
  for (const [token, colon] of text.matchAll(TOKENS)) {
    if (token === "{" || token === "[") depth += 1;
    else if (token === "}" || token === "]") depth -= 1;
    else if (colon !== undefined && depth === 1) keys += 1;
  }
  return keys !== Object.keys(value).length;
}

/** The record that an object of either API describes. Null is an absent value. */
export function toEntry(line: number, object: unknown, ignoresUnknown: boolean): SourceEntry {
  if (!isObject(object)) return { line, faults: [{ message: "is no JSON object" }] };
  const values: RawValues = {};
  const faults: LineFault[] = [];
  for (const [name, value] of Object.entries(object)) {
    const field = toFieldName(name);
    if (field === undefined) {
      if (!ignoresUnknown) faults.push({ message: `has a field that no record has: ${describeName(name)}` });
    } else if (field in values) faults.push({ field, message: "is there twice" });
    else if (value !== null) values[field] = value;
  }
  return faults.length > 0 ? { line, faults } : { line, values };
}
