import { type SQL, sql } from "drizzle-orm";
import {
  type AnyPgColumn,
  bigint,
  boolean,
  check,
  index,
  integer,
  pgEnum,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
} from "drizzle-orm/pg-core";
import { APIS, DOCUMENT_TYPES, ORDER_NAMES, RECORD_ACTIONS, VERIFICATION_STATUSES } from "../vocabulary.ts";
import { byteText, instant, transactionId } from "./columns.ts";
import { orderKey } from "./order-key.ts";

export const verificationStatus = pgEnum("verification_status", VERIFICATION_STATUSES);
export const documentType = pgEnum("document_type", DOCUMENT_TYPES);

/** The actions and surfaces that replicas of release 0.2 can show: see `auditEvents.otherAction`. */
export const auditAction = pgEnum("audit_action", RECORD_ACTIONS);
export const surface = pgEnum("surface", APIS);

/** No step towards the expiry was done. It is greater than every step: PostgreSQL's largest integer. */
export const NO_EXPIRY_STEP = 2_147_483_647;

/**
 * The records. The account leads the primary key and every index, so that the table can be partitioned or
 * distributed on it. Each list index ends in the paging key, a time and the id: any page is a range of an index, or is
 * merged from several.
 */
export const kycs = pgTable(
  "kycs",
  {
    accountId: byteText("account_id").notNull(),
    id: byteText("id").notNull(),
    customerId: text("customer_id").notNull(),
    verificationStatus: verificationStatus("verification_status").notNull(),
    documentType: documentType("document_type").notNull(),
    /** Null in records of this release. An earlier one stored the plain number here. */
    documentNumber: text("document_number"),
    sealedNumber: text("sealed_number"),
    /** For searches: equal numbers of an account have equal digests under one key. */
    numberDigest: byteText("number_digest"),
    createdAt: instant("created_at").notNull(),
    updatedAt: instant("updated_at").notNull(),
    version: integer("version").notNull(),
    /** The version that the sealed number is bound to; null if an earlier release sealed it. */
    sealedVersion: integer("sealed_version"),
    /** Null if an earlier release wrote the record, until the background job has filled it in. */
    statusSince: instant("status_since"),
    /** The version at which `statusSince` was written. If the record has another one, a replica of release 0.2 changed it. */
    statusSinceVersion: integer("status_since_version"),
    expiresAt: instant("expires_at"),
    /** The last step towards `expiresAt` that was done: seconds before it, or `NO_EXPIRY_STEP`. Another `expiresAt` resets it. */
    expiryStep: integer("expiry_step").notNull().default(NO_EXPIRY_STEP),
    /** The notices that were sent, for each value of `expiresAt`: see `src/kyc/lifecycle/sent-notices.ts`. */
    expiryNotices: text("expiry_notices"),
    /** When the relationship with the customer ended, which starts the time of retention; null if it has not ended. */
    relationshipEndedAt: instant("relationship_ended_at"),
  },
  (table) => [
    primaryKey({ columns: [table.accountId, table.id] }),
    index("kycs_by_time").on(table.accountId, table.createdAt, table.id),
    index("kycs_by_customer").on(table.accountId, table.customerId, table.createdAt, table.id),
    index("kycs_by_status").on(table.accountId, table.verificationStatus, table.createdAt, table.id),
    index("kycs_by_document_type").on(table.accountId, table.documentType, table.createdAt, table.id),
    index("kycs_by_number").on(table.accountId, table.numberDigest, table.createdAt, table.id).concurrently(),
    // One for each order of lists. A list without a condition on the status or the kind of document merges its ranges.
    ...ORDER_NAMES.map((order) =>
      index(`kycs_by_status_type_${order}`)
        .on(table.accountId, table.verificationStatus, table.documentType, orderKey(table, order), table.id)
        .concurrently(),
    ),
    // Finds records whose time of the status is not known. It is empty except during and after an upgrade.
    index("kycs_without_status_since")
      .on(table.accountId, table.id)
      .concurrently()
      .where(sql`${table.statusSinceVersion} is distinct from ${table.version}`),
    // Finds records that will expire, by their last step.
    index("kycs_to_expire")
      .on(table.accountId, table.expiryStep, table.expiresAt, table.id)
      .concurrently()
      .where(sql`${table.verificationStatus} = 'verified' and ${table.expiresAt} is not null`),
    // Finds records whose time of retention has passed, of each account.
    index("kycs_by_relationship_end")
      .on(table.accountId, table.relationshipEndedAt, table.id)
      .concurrently()
      .where(sql`${table.relationshipEndedAt} is not null`),
    // Finds numbers that must still be sealed. It is empty except after an upgrade.
    index("kycs_with_plain_number")
      .on(table.accountId, table.id)
      .concurrently()
      .where(sql`${table.documentNumber} is not null`),
    // A replica of an earlier release that would write a second number next to the sealed one fails instead.
    check(
      "kycs_number_is_sealed_or_plain",
      sql`(${table.documentNumber} is null) <> (${table.sealedNumber} is null)
        and (${table.sealedNumber} is null) = (${table.numberDigest} is null)`,
    ),
    // A replica of an earlier release that would change a record and leave its bound number as it is fails instead:
    // the number would be unreadable under the new version.
    check(
      "kycs_number_is_bound_to_version",
      sql`${table.sealedVersion} is null or ${table.sealedVersion} = ${table.version}`,
    ),
  ],
);

/** The list position of a deleted record and nothing else, so that its cursors keep working. */
export const deletedKycs = pgTable(
  "deleted_kycs",
  {
    accountId: byteText("account_id").notNull(),
    id: byteText("id").notNull(),
    createdAt: instant("created_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.accountId, table.id] })],
);

/**
 * The audit trail. Rows are only added, never changed or deleted. Of a record's values, it contains only the status, the
 * kind of document and the version. Each index ends in the paging key; pages by time must still be sorted by it.
 */
export const auditEvents = pgTable(
  "audit_events",
  {
    accountId: byteText("account_id").notNull(),
    sequence: bigint("sequence", { mode: "number" }).notNull().generatedAlwaysAsIdentity(),
    at: instant("at").notNull(),
    tokenId: byteText("token_id").notNull(),
    tokenName: text("token_name").notNull(),
    surface: surface("surface").notNull(),
    requestId: text("request_id").notNull(),
    action: auditAction("action").notNull(),
    kycIds: text("kyc_ids").array().notNull(),
    changedFields: text("changed_fields").array().notNull(),
    statusBefore: verificationStatus("status_before"),
    statusAfter: verificationStatus("status_after"),
    reason: text("reason"),
    /** The transaction that wrote it, also if a replica of an earlier release did; null if it was written before. */
    writtenIn: transactionId("written_in").default(sql`pg_current_xact_id()`),
    /**
     * The action, if it is an administrative one, and the surface, if it is no API. Then `action` and `surface` have
     * substitutes, because replicas of release 0.2 fail to show a page that has another word.
     */
    otherAction: text("other_action"),
    otherSurface: text("other_surface"),
    /** Who signed in, as the identity provider says. */
    actorName: text("actor_name"),
    /** The subject of an administrative act: the id of a token or key. */
    subject: text("subject"),
    /** Null in events of release 0.2, like all columns below. */
    documentTypeAfter: documentType("document_type_after"),
    versionAfter: integer("version_after"),
    /** Whether `audit_event_customers` has the customers of its records. */
    hasCustomers: boolean("has_customers"),
  },
  (table) => [
    primaryKey({ columns: [table.accountId, table.sequence] }),
    index("audit_events_by_token").on(table.accountId, table.tokenId, table.sequence),
    index("audit_events_by_action").on(table.accountId, table.action, table.sequence),
    index("audit_events_by_time").on(table.accountId, table.at, table.sequence),
    index("audit_events_by_status")
      .on(table.accountId, table.statusAfter, table.sequence)
      .concurrently()
      .where(sql`${table.statusAfter} is not null`),
    index("audit_events_by_other_action")
      .on(table.accountId, table.otherAction, table.sequence)
      .concurrently()
      .where(sql`${table.otherAction} is not null`),
    index("audit_events_by_actor")
      .on(table.accountId, table.actorName, table.sequence)
      .concurrently()
      .where(sql`${table.actorName} is not null`),
    // The changes of a record, and the notices about it, in their order, however many audited reads lie between them.
    index("audit_events_by_record")
      .on(table.accountId, sql`(${table.kycIds}[1])`, table.sequence)
      .concurrently()
      .where(sql`${table.action} <> 'read'`),
    // The sealer's search for new events of all accounts.
    index("audit_events_by_writing")
      .on(table.writtenIn, table.sequence)
      .concurrently()
      .where(sql`${table.writtenIn} is not null`),
    // JavaScript's numbers are not exact above it: one event with such a number would stop the sealer for all accounts.
    check("audit_events_sequence_is_exact", sql`${table.sequence} between 1 and 9007199254740991`),
  ],
);

/**
 * Which events are about which records. An answer with many records is one event, and a list of ids in the event could only
 * be searched through an index without the account and without an order.
 */
export const auditEventRecords = pgTable(
  "audit_event_records",
  {
    accountId: byteText("account_id").notNull(),
    kycId: byteText("kyc_id").notNull(),
    sequence: bigint("sequence", { mode: "number" }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.accountId, table.kycId, table.sequence] })],
);

/** Tokens by the hash of their secret: the secret itself is never stored. */
export const tokens = pgTable(
  "tokens",
  {
    accountId: byteText("account_id").notNull(),
    id: byteText("id").notNull(),
    name: text("name").notNull(),
    hash: text("hash").notNull(),
    scopes: text("scopes").array().notNull(),
    createdAt: instant("created_at").notNull(),
    expiresAt: instant("expires_at"),
    revokedAt: instant("revoked_at"),
    /** Authenticates every other column, under an encryption key: `<key id>.<mac>`. */
    mac: text("mac"),
  },
  (table) => [
    primaryKey({ columns: [table.accountId, table.id] }),
    // A look-up has only the hash, and finds the account.
    uniqueIndex("tokens_by_hash").on(table.hash),
  ],
);

/**
 * A time column as epoch milliseconds: a number, whatever the zone of the session. `extract` computes in numeric, which
 * takes PostgreSQL 2 µs for each value; `date_part`, with the same result once it is rounded, takes 0.3 µs.
 */
export function epochMillis<T extends number | null = number>(column: AnyPgColumn | SQL): SQL<T> {
  return sql<T>`round(date_part('epoch', ${column}) * 1000)`;
}

const YEAR_1 = Date.parse("0001-01-01T00:00:00Z");
const YEAR_10000 = Date.parse("+010000-01-01T00:00:00Z");

/** Whether `toTimestamptz` gives this time itself, and not infinity. */
export const isStorableTime = (millis: number): boolean => millis >= YEAR_1 && millis < YEAR_10000;

/** Epoch milliseconds as text for PostgreSQL. Times outside the years 1 to 9999 become infinity. */
export function toTimestamptz(millis: number): string {
  if (millis < YEAR_1) return "-infinity";
  if (millis >= YEAR_10000) return "infinity";
  return new Date(millis).toISOString();
}
