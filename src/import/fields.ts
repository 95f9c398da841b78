import { FIELDS, type FieldName } from "../kyc/fields.ts";

/** The values of a record as a line has them, by the names of the fields. */
export type RawValues = Partial<Record<FieldName, unknown>>;

/** A fault of one line. No message contains a value of the line. */
export interface LineFault {
  /** Undefined: it is about the whole line. */
  field?: string;
  message: string;
}

/** One record of a source, or why a line is none. */
export type SourceEntry = {
  line: number;
  /** The id of the record, for the report, if the source has no lines to look at. */
  id?: string | undefined;
} & ({ values: RawValues; faults?: undefined } | { values?: undefined; faults: LineFault[] });

/** Names are compared by their letters and digits, so that `customer_id`, `customerId` and `Customer ID` are the same. */
const lettersOf = (name: string) => name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");

const BY_LETTERS = new Map((Object.keys(FIELDS) as FieldName[]).map((name) => [lettersOf(name), name]));

/** The field that a column or a key of an object names; undefined if no record has it. */
export const toFieldName = (name: string): FieldName | undefined => BY_LETTERS.get(lettersOf(name));

/** A name that nobody would take for a value: files without a header have a record where the names should be. */
const IS_NAME = /^[A-Za-z][A-Za-z _-]{0,39}$/;

/** The unknown name for a message; without it if it can be a value. */
export const describeName = (name: string): string =>
  IS_NAME.test(name) ? `"${name}"` : "one that is no name";
