import { FIELDS, type FieldKind, type FieldName } from "../kyc/fields.ts";
import { type ImportKycInput, importKycInput } from "../kyc/input.ts";
import { EXPECTED_INSTANT, readInstant } from "../lib/instant.ts";
import { readInput } from "../parse-input.ts";
import { DOCUMENT_TYPE_WORDS, STATUS_WORDS, toWord } from "../spellings.ts";
import type { LineFault, RawValues } from "./fields.ts";

/** How each kind of field is read from a line: both APIs' forms, and their texts in CSV. What can't be read stays as it is. */
const READERS: Record<FieldKind, (value: unknown) => unknown> = {
  text: (value) => value,
  status: (value) => toWord(STATUS_WORDS, value),
  documentType: (value) => toWord(DOCUMENT_TYPE_WORDS, value),
  number: (value) => value,
  time: readTime,
  integer: readInteger,
};

/** A time in either API's form: ISO 8601, or whole seconds since 1970. */
function readTime(value: unknown): unknown {
  const seconds = readInteger(value);
  // A text that is no time is reported as one.
  if (typeof seconds === "number") return Number.isInteger(seconds) ? seconds * 1000 : String(value);
  return readInstant(value) ?? value;
}

function readInteger(value: unknown): unknown {
  return typeof value === "string" && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
}

const TIMES = (Object.keys(FIELDS) as FieldName[]).filter((name) => FIELDS[name].kind === "time");

/** The times of a record that may be in the future. */
const MAY_BE_TO_COME: readonly string[] = ["expiresAt", "relationshipEndedAt"];

/** The record of a line, or every fault that it has. `now`, in epoch milliseconds, is the latest time that it may have, except for those that may be to come. */
export function readRecord(values: RawValues, now: number): ImportKycInput | LineFault[] {
  const input: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(values)) {
    input[name] = READERS[FIELDS[name as FieldName].kind](value);
  }
  const { value, faults } = readInput(importKycInput, input, []);
  const found: LineFault[] = faults.map(({ path, message }) => ({ field: String(path[0]), message }));
  for (const field of TIMES) {
    const time = input[field];
    const isFuture = typeof time === "number" && time > now && !MAY_BE_TO_COME.includes(field);
    if (isFuture) found.push({ field, message: "is in the future" });
    if (typeof time === "string") relabel(found, field, `must be ${EXPECTED_INSTANT}, or seconds since 1970`);
  }
  return value !== undefined && found.length === 0 ? value : found;
}

function relabel(faults: LineFault[], field: string, message: string): void {
  for (const fault of faults) if (fault.field === field) fault.message = message;
}
