import { index, pgTable, primaryKey, text } from "drizzle-orm/pg-core";
import { byteText, instant } from "./columns.ts";

/**
 * The results of writes with an `Idempotency-Key`, for as long as the key is kept. Only the key's hash is stored, because a
 * client can put anything into a key. If the record was deleted, the row has no result, and the key stays used.
 */
export const idempotencyKeys = pgTable(
  "idempotency_keys",
  {
    accountId: byteText("account_id").notNull(),
    keyHash: byteText("key_hash").notNull(),
    kycId: byteText("kyc_id").notNull(),
    requestDigest: text("request_digest"),
    sealedResult: text("sealed_result"),
    createdAt: instant("created_at").notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.accountId, table.keyHash] }),
    // For deleting a record's results.
    index("idempotency_keys_by_record").on(table.accountId, table.kycId),
    // For removing old keys of all accounts.
    index("idempotency_keys_by_time").on(table.createdAt),
  ],
);
