import { z } from "zod";
import { isStorableTime } from "../db/schema.ts";
import { isKycId } from "../kyc-id.ts";
import { MAX_PAGE_SIZE, pageInput, timeRange } from "../paging/page-input.ts";
import type { Raw } from "../parse-input.ts";
import { DOCUMENT_TYPES, ORDER_NAMES, VERIFICATION_STATUSES } from "../vocabulary.ts";
import { fromKycCursor } from "./cursor.ts";
import type { ChangeableName, FieldName, GivenName, ValueOf } from "./fields.ts";
import { MASK } from "./number/document-number.ts";

const CUSTOMER_ID_LENGTH = 128;
const DOCUMENT_NUMBER_LENGTH = 64;
const REASON_LENGTH = 500;

// Neither control nor format characters, lone surrogates, unassigned code points, nor line separators.
const PRINTABLE = /^[^\p{C}\p{Zl}\p{Zp}]+$/u;

// The lengths are also given as JSON Schema's keywords, because JSON Schema has no refinements.
const printable = (length: number) =>
  z
    .string("must be a string")
    .refine((text) => PRINTABLE.test(text) && [...text].length <= length, {
      message: `must have 1 to ${length} printable characters`,
    })
    .meta({ minLength: 1, maxLength: length });
const oneOf = <const T extends readonly string[]>(words: T) =>
  z.enum(words, `must be one of ${words.join(", ")}`);

/** The message for a masked number that is not the record's own. */
export const IS_MASKED = "is a masked number";

export const customerId = printable(CUSTOMER_ID_LENGTH);
const verificationStatus = oneOf(VERIFICATION_STATUSES);
const documentType = oneOf(DOCUMENT_TYPES);
const anyNumber = z.string("must be a string").trim().pipe(printable(DOCUMENT_NUMBER_LENGTH));
const documentNumber = anyNumber.refine((number) => !number.includes(MASK), IS_MASKED);
export const anyTime = z
  .number("must be a time")
  .refine(isStorableTime, "must be a time in the years 1 to 9999");
/** Optional times. In an update, null removes them. */
const optionalTimes = { expiresAt: anyTime.nullish(), relationshipEndedAt: anyTime.nullish() };
/** The caller's reason, for the audit trail. */
export const requiredReason = z.string("must be a string").trim().pipe(printable(REASON_LENGTH));
const reason = requiredReason.optional();
/** The version that the caller expects, or several acceptable ones. */
const expectedVersion = z.union([z.int(), z.array(z.int())]).optional();
/** The versions that the caller excludes (`If-None-Match`). */
const unwantedVersion = z.union([z.literal("any"), z.array(z.int())]).optional();
const cursor = z
  .string("must be a cursor")
  .refine((text) => isKycId(text) || fromKycCursor(text) !== null, "is not a cursor of this list");
/** A rule for each of these fields. */
type Rules<Name extends FieldName> = { [Field in Name]: z.ZodType<ValueOf<Field> | undefined> };

export const createKycInput = z.object({
  ...({
    customerId,
    verificationStatus,
    documentType,
    documentNumber,
    ...optionalTimes,
  } satisfies Rules<GivenName>),
  // There is no record yet, so any expected version is a conflict.
  expectedVersion,
  reason,
});

/** The highest version that a record can be imported with. Later changes count on, up to PostgreSQL's largest integer. */
const MAX_VERSION = 2_000_000_000;
/** Epoch milliseconds from the year 1 on. The caller knows which time is in the future. */
const pastTime = z
  .int("must be a time")
  .min(Date.parse("0001-01-01T00:00:00Z"), "must be a time from the year 1 on");

/** A record that keeps its id and times. Absent ones are made, as for a new record. */
export const importKycInput = z
  .object({
    ...({
      id: z.string("must be a string").refine(isKycId, "must be 16 letters or digits").optional(),
      customerId,
      verificationStatus,
      documentType,
      documentNumber,
      createdAt: pastTime.optional(),
      updatedAt: pastTime.optional(),
      statusSince: pastTime.optional(),
      ...optionalTimes,
      version: z
        .int("must be an integer")
        .min(1, "must be at least 1")
        .max(MAX_VERSION, `must be at most ${MAX_VERSION}`)
        .optional(),
    } satisfies Rules<FieldName>),
  })
  .refine(({ createdAt, updatedAt }) => updatedAt === undefined || (createdAt ?? updatedAt) <= updatedAt, {
    path: ["updatedAt"],
    message: "is before createdAt",
  });

export const updateKycInput = z.object({
  id: z.string(),
  ...({
    verificationStatus: verificationStatus.optional(),
    documentType: documentType.optional(),
    // A token without `kyc:pii` may send the mask back that it was shown. Only the stored record decides whether it is that.
    documentNumber: anyNumber.optional(),
    ...optionalTimes,
  } satisfies Rules<ChangeableName>),
  expectedVersion,
  unwantedVersion,
  reason,
});

export const deleteKycInput = z.object({ id: z.string(), expectedVersion, unwantedVersion, reason });

/** The input of a look-up by ids. */
export const recordIds = z.object({
  ids: z.array(z.string()).max(MAX_PAGE_SIZE, `must have at most ${MAX_PAGE_SIZE} ids`),
});

/** The maximum number of values in a list of a filter. */
export const MAX_LISTED = 100;
const listOf = <T extends z.ZodType>(value: T) =>
  z.array(value).max(MAX_LISTED, `must have at most ${MAX_LISTED} values`);

/** The filter of a list. Null and absent mean the same; an empty list matches nothing. Times are in epoch milliseconds. */
const kycFilter = z.object({
  customerId: customerId.nullish(),
  customerIdIn: listOf(customerId).nullish(),
  verificationStatus: verificationStatus.nullish(),
  verificationStatusIn: listOf(verificationStatus).nullish(),
  documentType: documentType.nullish(),
  documentTypeIn: listOf(documentType).nullish(),
  documentNumber: documentNumber.nullish(),
  createdAt: timeRange.nullish(),
  updatedAt: timeRange.nullish(),
  statusSince: timeRange.nullish(),
  expiresAt: timeRange.nullish(),
});

const orderBy = z.object({ field: oneOf(ORDER_NAMES).nullish(), isDescending: z.boolean().nullish() });

export const listKycsInput = pageInput(cursor, kycFilter, orderBy);
export const countKycsInput = z.object({ filter: kycFilter.nullish() });

export type CreateKycInput = Raw<typeof createKycInput>;
export type ImportKycInput = z.output<typeof importKycInput>;
export type UpdateKycInput = Raw<typeof updateKycInput> & { id: string };
export type DeleteKycInput = Raw<typeof deleteKycInput> & { id: string };
export type ListKycsInput = Raw<typeof listKycsInput>;
export type CountKycsInput = Raw<typeof countKycsInput>;
export type KycFilter = z.output<typeof kycFilter>;
