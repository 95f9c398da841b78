import { type SQL, sql } from "drizzle-orm";
import { orderKey } from "../../db/order-key.ts";
import { kycs, toTimestamptz } from "../../db/schema.ts";
import type { Bounds } from "../../paging/list.ts";
import type { ListSource, Source } from "../../paging/list-store.ts";
import {
  DOCUMENT_TYPES,
  type DocumentType,
  type OrderName,
  VERIFICATION_STATUSES,
  type VerificationStatus,
} from "../../vocabulary.ts";
import { NEWEST_FIRST, type Ordering, type Position } from "../cursor.ts";
import type { Kyc } from "../record.ts";

/** A span of time in epoch milliseconds. Null: it has no such bound. */
export interface Span {
  /** Included. */
  from: number | null;
  /** Excluded. */
  to: number | null;
  /** Whether records without such a time match, too. */
  orNever?: true;
}

/**
 * Where the records of a page are looked for: the records of customers or numbers, or those of a span in an order; `all`:
 * wherever PostgreSQL finds them.
 */
export type Range = "customers" | "number" | "all" | OrderName;

/** Which records of an account a statement is about. A list that is given is not empty. */
export interface KycSelection extends Bounds<Position>, Partial<Record<OrderName, Span>> {
  customerIds?: readonly string[];
  verificationStatuses?: readonly VerificationStatus[];
  documentTypes?: readonly DocumentType[];
  /** Sealed with one of these digests. */
  numberDigests?: string[];
  /** The same, or stored plain as this number. */
  numberAnywhere?: { digests: string[]; plain: string };
  /** The order of the list. Default: newest first. */
  ordering?: Ordering;
  /** Undefined: a page is a range of an index, or ranges that are merged, without any further condition. */
  range?: Range;
}
/** The parts of a selection that are no conditions. */
export type Aside = "ordering" | "range";

export const orderingOf = ({ ordering = NEWEST_FIRST }: KycSelection): Ordering => ordering;
export const keyOf = (selection: KycSelection): SQL => orderKey(kycs, orderingOf(selection).by);

/** Separates customer ids, which have no control characters. */
const SEPARATOR = "\u001f";

/** The lists of a selection as SQL. PostgreSQL can't unnest an array of lists of different lengths, so each list is a text. */
export const LISTS = {
  customerIds: (source: Source) => sql`string_to_array(${source("customerIds")}, ${sql.raw("E'\\x1f'")})`,
  verificationStatuses: (source: Source) =>
    sql`string_to_array(${source("verificationStatuses")}, ',')::verification_status[]`,
  documentTypes: (source: Source) => sql`string_to_array(${source("documentTypes")}, ',')::document_type[]`,
} as const;
type ListName = keyof typeof LISTS;
const LISTED = {
  customerIds: { column: kycs.customerId, type: sql.raw("") },
  verificationStatuses: { column: kycs.verificationStatus, type: sql.raw("::verification_status") },
  documentTypes: { column: kycs.documentType, type: sql.raw("::document_type") },
};

/** Whether the list has one value. Such selections have a separate statement, which compares with the value. */
export const hasOne = (selection: KycSelection, name: ListName): boolean =>
  (selection.range === undefined || name === "customerIds") && selection[name]?.length === 1;

const isListed = (name: ListName) => (source: Source, selection: KycSelection) => {
  const { column, type } = LISTED[name];
  if (hasOne(selection, name)) return sql`${column} = ${source(name)}${type}`;
  return sql`${column} = any(${LISTS[name](source)})`;
};

// PostgreSQL uses an index range for a row comparison, but not for the equivalent condition with OR.
const compareRow =
  (descending: "<" | ">" | "<=" | ">=", name: keyof Bounds<Position>) =>
  (source: Source, selection: KycSelection) => {
    const ascending = descending.replace(/[<>]/, (sign) => (sign === "<" ? ">" : "<"));
    const operator = sql.raw(orderingOf(selection).isDescending ? descending : ascending);
    return sql`(${keyOf(selection)}, ${kycs.id}) ${operator} (${source(`${name}At`)}::timestamptz, ${source(`${name}Id`)})`;
  };

/** Whether a time is in a span. The text of the end is empty if records without the time match, too. */
const isInSpan = (name: OrderName) => (source: Source) => {
  const key = orderKey(kycs, name);
  return sql`${key} >= ${source(`${name}From`)}::timestamptz
    and (${key} < nullif(${source(`${name}To`)}, '')::timestamptz) is not false`;
};

const hasDigest = (list: SQL) => sql`${kycs.numberDigest} = any(string_to_array(${list}, ','))`;

export const conditions: ListSource<KycSelection, Kyc, Aside>["conditions"] = {
  customerIds: isListed("customerIds"),
  verificationStatuses: isListed("verificationStatuses"),
  documentTypes: isListed("documentTypes"),
  numberDigests: (source) => hasDigest(source("numberDigests")),
  numberAnywhere: (source) =>
    sql`(${hasDigest(source("numberAnywhereDigests"))} or ${kycs.documentNumber} = ${source("numberAnywherePlain")})`,
  created_at: isInSpan("created_at"),
  updated_at: isInSpan("updated_at"),
  status_since: isInSpan("status_since"),
  expires_at: isInSpan("expires_at"),
  newerThan: compareRow(">", "newerThan"),
  olderThan: compareRow("<", "olderThan"),
  fromHereNewer: compareRow(">=", "fromHereNewer"),
  fromHereOlder: compareRow("<=", "fromHereOlder"),
};

/** The texts of a condition's values. */
export function bind(name: string, value: KycSelection[keyof KycSelection] & {}): Record<string, string> {
  if (typeof value !== "object") return { [name]: value };
  if (isList(value)) return { [name]: value.join(name === "customerIds" ? SEPARATOR : ",") };
  if ("plain" in value) return { [`${name}Digests`]: value.digests.join(), [`${name}Plain`]: value.plain };
  if ("at" in value) return { [`${name}At`]: toTimestamptz(value.at), [`${name}Id`]: value.id };
  const { from, to, orNever } = value as Span;
  return {
    [`${name}From`]: toTimestamptz(from ?? Number.NEGATIVE_INFINITY),
    [`${name}To`]: orNever ? "" : toTimestamptz(to ?? Number.POSITIVE_INFINITY),
  };
}

const isList = (value: object): value is readonly string[] => Array.isArray(value);

const ALL: Span = { from: null, to: null, orNever: true };

/** The selection with every condition that a statement can have on the record's own values, so that few statements differ. */
export function withAllConditions(selection: KycSelection): KycSelection {
  return {
    ...{ created_at: ALL, updated_at: ALL, status_since: ALL, expires_at: ALL },
    ...{ verificationStatuses: VERIFICATION_STATUSES, documentTypes: DOCUMENT_TYPES },
    ...selection,
  };
}
