import { sql } from "drizzle-orm";
import { bigint, index, pgTable, primaryKey, text } from "drizzle-orm/pg-core";
import { binary, byteText, instant } from "./columns.ts";

/**
 * Legal holds on a record, or on a customer and all its records. A trigger on `kycs` refuses the deletion of a held
 * record, so that replicas of release 0.2 and psql can't delete it either: see migration 0012.
 */
export const legalHolds = pgTable(
  "legal_holds",
  {
    accountId: byteText("account_id").notNull(),
    /** Ids sort by creation. */
    id: byteText("id").notNull(),
    /** Null: the hold is on the customer. */
    kycId: byteText("kyc_id"),
    /** For the trigger. Only holds on a customer have it, and only until they end. */
    customerId: text("customer_id"),
    /** The digest by which the trail finds the customer's events. It stays. */
    customerDigest: binary("customer_digest").notNull(),
    /** Null: it was erased with the customer. */
    reason: text("reason"),
    placedAt: instant("placed_at").notNull(),
    /** Null: it lasts until it is released. */
    until: instant("until"),
    releasedAt: instant("released_at"),
    releaseReason: text("release_reason"),
  },
  (table) => [
    primaryKey({ columns: [table.accountId, table.id] }),
    index("legal_holds_by_record").on(table.accountId, table.kycId, table.id),
    index("legal_holds_by_digest").on(table.accountId, table.customerDigest, table.id),
    index("legal_holds_by_customer")
      .on(table.accountId, table.customerId)
      .where(sql`${table.customerId} is not null`),
    index("legal_holds_not_released").on(table.accountId, table.id).where(sql`${table.releasedAt} is null`),
  ],
);

/** The erasures of customers: what a receipt is made of. A row has no value of the records. */
export const erasures = pgTable(
  "erasures",
  {
    accountId: byteText("account_id").notNull(),
    id: byteText("id").notNull(),
    customerDigest: binary("customer_digest").notNull(),
    erasedAt: instant("erased_at").notNull(),
    /** The event of the erasure itself. */
    sequence: bigint("sequence", { mode: "number" }).notNull(),
    /** The deleted records and, at the same index, the sequence of the event of each deletion. */
    kycIds: text("kyc_ids").array().notNull(),
    sequences: bigint("sequences", { mode: "number" }).array().notNull(),
  },
  (table) => [primaryKey({ columns: [table.accountId, table.id] })],
);
