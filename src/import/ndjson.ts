import type { Line } from "../lib/lines.ts";
import { describeName, type LineFault, type RawValues, type SourceEntry, toFieldName } from "./fields.ts";

/** Reads the records of NDJSON: one JSON object in each line. */
export class NdjsonReader {
  readonly #ignoresUnknown: boolean;

  constructor(ignoresUnknown: boolean) {
    this.#ignoresUnknown = ignoresUnknown;
  }

  read(lines: readonly Line[]): SourceEntry[] {
    return lines.flatMap((line) => (line.text?.trim() === "" ? [] : [this.#readOne(line)]));
  }

  #readOne({ number, text, fault }: Line): SourceEntry {
    if (text === null) return { line: number, faults: [{ message: fault as string }] };
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return { line: number, faults: [{ message: "is not JSON" }] };
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return { line: number, faults: [{ message: "is no JSON object" }] };
    }
    return toEntry(number, value as Record<string, unknown>, this.#ignoresUnknown);
  }
}

/** The record that an object of either API describes. Null is an absent value. */
function toEntry(line: number, object: Record<string, unknown>, ignoresUnknown: boolean): SourceEntry {
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
