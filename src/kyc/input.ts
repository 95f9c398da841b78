import { z } from "zod";
import { badUserInput, type FieldFault } from "../errors.ts";
import { fromKycCursor } from "./cursor.ts";
import { DOCUMENT_TYPES, isKycId, VERIFICATION_STATUSES } from "./kyc.ts";
import { MASK } from "./number/document-number.ts";

export const MAX_PAGE_SIZE = 100;
export const DEFAULT_PAGE_SIZE = 10;
const CUSTOMER_ID_LENGTH = 128;
const DOCUMENT_NUMBER_LENGTH = 64;
const REASON_LENGTH = 500;

// Neither control nor format characters, lone surrogates, unassigned code points, nor line separators.
const PRINTABLE = /^[^\p{C}\p{Zl}\p{Zp}]+$/u;

// The lengths are told in JSON Schema's words too, which know no refinements.
const printable = (length: number) =>
  z
    .string("must be a string")
    .refine((text) => PRINTABLE.test(text) && [...text].length <= length, {
      message: `must have 1 to ${length} printable characters`,
    })
    .meta({ minLength: 1, maxLength: length });
const oneOf = <const T extends readonly string[]>(words: T) =>
  z.enum(words, `must be one of ${words.join(", ")}`);

/** What is wrong with a number that some other answer has shown masked. */
export const IS_MASKED = "is a masked number";

const customerId = printable(CUSTOMER_ID_LENGTH);
const verificationStatus = oneOf(VERIFICATION_STATUSES);
const documentType = oneOf(DOCUMENT_TYPES);
const anyNumber = z.string("must be a string").trim().pipe(printable(DOCUMENT_NUMBER_LENGTH));
const documentNumber = anyNumber.refine((number) => !number.includes(MASK), IS_MASKED);
/** Why the caller does it, for the trail. */
const reason = z.string("must be a string").trim().pipe(printable(REASON_LENGTH)).optional();
/** The version that the caller saw, or several of which any will do. */
const expectedVersion = z.union([z.int(), z.array(z.int())]).optional();
/** The versions at which the caller does not want it done: `If-None-Match`. */
const unwantedVersion = z.union([z.literal("any"), z.array(z.int())]).optional();
const pageSize = z
  .number(`must be an integer from 0 to ${MAX_PAGE_SIZE}`)
  .refine((size) => Number.isInteger(size) && size >= 0 && size <= MAX_PAGE_SIZE, {
    message: `must be an integer from 0 to ${MAX_PAGE_SIZE}`,
  });
const cursor = z
  .string("must be a cursor")
  .refine((text) => isKycId(text) || fromKycCursor(text) !== null, "is not a cursor of this list");
const instant = z.number("must be a time");
export const timeRange = z.object({ from: instant.nullish(), to: instant.nullish() });

export const createKycInput = z.object({
  customerId,
  verificationStatus,
  documentType,
  documentNumber,
  // No record is there yet: any expected version is a conflict.
  expectedVersion,
  reason,
});

export const updateKycInput = z.object({
  id: z.string(),
  verificationStatus: verificationStatus.optional(),
  documentType: documentType.optional(),
  // What a token without `kyc:pii` was shown may come back: only the stored record tells whether it is that.
  documentNumber: anyNumber.optional(),
  expectedVersion,
  unwantedVersion,
  reason,
});

export const deleteKycInput = z.object({ id: z.string(), expectedVersion, unwantedVersion, reason });

/** As many ids as one request may ask for. */
export const recordIds = z.object({
  ids: z.array(z.string()).max(MAX_PAGE_SIZE, `must have at most ${MAX_PAGE_SIZE} ids`),
});

/** Which records a list is about. Null and absent mean the same here. Times are epoch milliseconds. */
const kycFilter = z.object({
  customerId: customerId.nullish(),
  verificationStatus: verificationStatus.nullish(),
  documentType: documentType.nullish(),
  documentNumber: documentNumber.nullish(),
  createdAt: timeRange.nullish(),
});

/** The arguments of a list that takes these cursors and this filter. */
export function pageInput<Cursor extends z.ZodType, Filter extends z.ZodType>(
  cursor: Cursor,
  filter: Filter,
) {
  return z
    .object({
      first: pageSize.nullish(),
      after: cursor.nullish(),
      last: pageSize.nullish(),
      before: cursor.nullish(),
      filter: filter.nullish(),
    })
    .refine(({ first, last }) => first == null || last == null, {
      path: ["last"],
      message: "can't be used together with first",
      // Said also when other fields are at fault.
      when: () => true,
    });
}

export const listKycsInput = pageInput(cursor, kycFilter);

/** What a surface may hand in: anything may be absent or null, and is told as a fault where it must not. */
export type Raw<Schema extends z.ZodType> = {
  [Field in keyof z.input<Schema>]?: z.input<Schema>[Field] | null | undefined;
};
export type CreateKycInput = Raw<typeof createKycInput>;
export type UpdateKycInput = Raw<typeof updateKycInput> & { id: string };
export type DeleteKycInput = Raw<typeof deleteKycInput> & { id: string };
export type ListKycsInput = Raw<typeof listKycsInput>;
export type KycFilter = z.output<typeof kycFilter>;

/** An input that was read, or every fault that it has. */
export type Parsed<T> = { value: T; faults: [] } | { value: undefined; faults: FieldFault[] };

/** Reads an input. `found` are faults that the surface met on its own: they are told together with the input's. */
export function readInput<T>(schema: z.ZodType<T>, input: unknown, found: readonly FieldFault[]): Parsed<T> {
  const result = schema.safeParse(input);
  if (result.success && found.length === 0) return { value: result.data, faults: [] };
  const faults = result.error?.issues.map((issue) => toFault(issue, input)) ?? [];
  return { value: undefined, faults: [...found, ...faults] };
}

/** As `readInput`, and fails with BAD_USER_INPUT, naming every fault. */
export function parseInput<T>(schema: z.ZodType<T>, input: unknown, found: readonly FieldFault[] = []): T {
  const { value, faults } = readInput(schema, input, found);
  if (value === undefined) throw badUserInput(faults);
  return value;
}

function toFault(issue: z.core.$ZodIssue, input: unknown): FieldFault {
  const path = issue.path.map((key) => (typeof key === "symbol" ? String(key) : key));
  const given = path.reduce<unknown>((value, key) => (value as Record<string, unknown>)?.[key], input);
  if (given === undefined) return { path, kind: "missing", message: "is required" };
  return { path, kind: "invalid", message: given === null ? "must not be null" : issue.message };
}
