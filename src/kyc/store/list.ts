import { type SQL, sql } from "drizzle-orm";
import { kycs, toTimestamptz } from "../../db/schema.ts";
import type { Bounds } from "../../paging/list.ts";
import { createListStore, type ListSource, type Source } from "../../paging/list-store.ts";
import type { DocumentType, VerificationStatus } from "../../vocabulary.ts";
import { comparePositions, type Position } from "../cursor.ts";
import type { Kyc } from "../record.ts";
import { columns, type KycRow, toKyc } from "./read.ts";

/** Which records of an account a statement is about. */
export interface KycSelection extends Bounds<Position> {
  customerId?: string;
  verificationStatus?: VerificationStatus;
  documentType?: DocumentType;
  /** Sealed with one of these digests. */
  numberDigests?: string[];
  /** The same, or stored plain as this number. */
  numberAnywhere?: { digests: string[]; plain: string };
}

// PostgreSQL uses an index range for a row comparison, but not for the equivalent condition with OR.
const stands = (operator: "<" | ">" | "<=" | ">=", name: keyof Bounds<Position>) => (source: Source) =>
  sql`(${kycs.createdAt}, ${kycs.id}) ${sql.raw(operator)} (${source(`${name}At`)}::timestamptz, ${source(`${name}Id`)})`;

// PostgreSQL can't unnest an array of lists of different lengths, so each list is a text. Digests contain no comma.
const hasDigest = (list: SQL) => sql`${kycs.numberDigest} = any(string_to_array(${list}, ','))`;

const conditions: ListSource<KycSelection, Kyc>["conditions"] = {
  customerId: (source) => sql`${kycs.customerId} = ${source("customerId")}`,
  verificationStatus: (source) =>
    sql`${kycs.verificationStatus} = ${source("verificationStatus")}::verification_status`,
  documentType: (source) => sql`${kycs.documentType} = ${source("documentType")}::document_type`,
  numberDigests: (source) => hasDigest(source("numberDigests")),
  numberAnywhere: (source) =>
    sql`(${hasDigest(source("numberAnywhereDigests"))} or ${kycs.documentNumber} = ${source("numberAnywherePlain")})`,
  newerThan: stands(">", "newerThan"),
  olderThan: stands("<", "olderThan"),
  fromHereNewer: stands(">=", "fromHereNewer"),
  fromHereOlder: stands("<=", "fromHereOlder"),
};

function bind(name: string, value: KycSelection[keyof KycSelection] & {}): Record<string, string> {
  if (typeof value === "string") return { [name]: value };
  if (Array.isArray(value)) return { [name]: value.join() };
  if ("plain" in value) return { [`${name}Digests`]: value.digests.join(), [`${name}Plain`]: value.plain };
  return { [`${name}At`]: toTimestamptz(value.createdAt), [`${name}Id`]: value.id };
}

/** The records of an account, newest first: each page is one range of one index. */
export const kycList = createListStore<KycSelection, Kyc>({
  columns,
  toRow: (values) => toKyc(values as KycRow),
  from: () => sql`${kycs}`,
  accountId: () => kycs.accountId,
  key: () => [kycs.createdAt, kycs.id],
  conditions,
  bind,
  compare: comparePositions,
});
