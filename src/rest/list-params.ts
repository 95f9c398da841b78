import type { FieldFault } from "../errors.ts";
import type { ListKycsInput } from "../kyc/input.ts";
import { isKycId } from "../kyc-id.ts";
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../paging/page-input.ts";
import { DOCUMENT_TYPE_WORDS, STATUS_WORDS, toWord } from "../spellings.ts";
import type { WireParams } from "./params.ts";
import { boundParams, readBounds } from "./time-bounds.ts";

/** The filters of a list. */
export const LIST_FILTERS = [
  ...["customer_id", "verification_status", "document_type", "document_number"],
  ...boundParams("created"),
] as const;
/** The parameters of a list, in the query of the URL or in the body of a search. */
export const LIST_PARAMS = ["limit", ...LIST_FILTERS, "starting_after", "ending_before"] as const;

/** The input of `listKycs`, and the faults of the parameters. */
export function readList({ values, faults }: WireParams): { input: ListKycsInput; faults: FieldFault[] } {
  const found = [...faults];
  const invalid = (field: string, message: string) =>
    found.push({ path: field.split("."), kind: "invalid", message });
  const size = readLimit(values.get("limit"));
  if (size === undefined) invalid("first", `must be an integer from 1 to ${MAX_PAGE_SIZE}`);
  const after = readCursor(values.get("starting_after"));
  const before = readCursor(values.get("ending_before"));
  if (after === null) invalid("after", "must be the id of a record");
  if (before === null) invalid("before", "must be the id of a record");
  if (after !== undefined && before !== undefined)
    invalid("before", "can't be used together with starting_after");
  // The operation treats null as absent, and a filter that a client wants to set must not be ignored.
  if (values.get("customer_id") === null) invalid("filter.customerId", "must not be null");
  if (values.get("verification_status") === null) invalid("filter.verificationStatus", "must not be null");
  if (values.get("document_type") === null) invalid("filter.documentType", "must not be null");
  if (values.get("document_number") === null) invalid("filter.documentNumber", "must not be null");
  const { span, faults: ofBounds } = readBounds(values, "created");
  found.push(...ofBounds);
  const filter = {
    customerId: values.get("customer_id") as string | undefined,
    verificationStatus: toWord(STATUS_WORDS, values.get("verification_status")),
    documentType: toWord(DOCUMENT_TYPE_WORDS, values.get("document_type")),
    documentNumber: values.get("document_number") as string | undefined,
    createdAt: span,
  };
  const direction = before === undefined ? "first" : "last";
  return { input: { [direction]: size ?? DEFAULT_PAGE_SIZE, after, before, filter }, faults: found };
}

/** The size of a page; undefined if it is not an integer from 1 to 100. In JSON it can be a number. */
export function readLimit(value: unknown): number | undefined {
  if (value === undefined) return DEFAULT_PAGE_SIZE;
  const size = typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : value;
  const isLimit = Number.isInteger(size) && (size as number) >= 1 && (size as number) <= MAX_PAGE_SIZE;
  return isLimit ? (size as number) : undefined;
}

/** Undefined if there is none, null if it is not an id. */
function readCursor(value: unknown): string | null | undefined {
  if (value === undefined) return undefined;
  return typeof value === "string" && isKycId(value) ? value : null;
}
