import { sql } from "drizzle-orm";
import { bigint, boolean, integer, pgTable, primaryKey, uniqueIndex } from "drizzle-orm/pg-core";
import { binary, byteText, transactionId } from "./columns.ts";

/** The position of each event in its account's log, and its leaf. Rows are added, and never changed or deleted. */
export const ledgerEntries = pgTable(
  "ledger_entries",
  {
    accountId: byteText("account_id").notNull(),
    /** 0, 1, 2 …, without a gap. */
    position: bigint("position", { mode: "number" }).notNull(),
    /** The event's sequence. */
    sequence: bigint("sequence", { mode: "number" }).notNull(),
    leafHash: binary("leaf_hash").notNull(),
    tokenNameSalt: binary("token_name_salt").notNull(),
    /** Null if the event has no reason, or if the reason was erased. */
    reasonSalt: binary("reason_salt"),
    /** Stays when the reason is erased: the leaf contains it. */
    reasonHash: binary("reason_hash"),
    /** The same for the name of who signed in. */
    actorSalt: binary("actor_salt"),
    actorHash: binary("actor_hash"),
  },
  (table) => [
    primaryKey({ columns: [table.accountId, table.position] }),
    uniqueIndex("ledger_entries_by_sequence").on(table.accountId, table.sequence),
  ],
);

/** The size of each account's log, and the right edge of its tree: 32 bytes for each of its complete subtrees. */
export const ledgerHeads = pgTable("ledger_heads", {
  accountId: byteText("account_id").primaryKey(),
  size: bigint("size", { mode: "number" }).notNull(),
  frontier: binary("frontier").notNull(),
});

/** The complete subtrees of 256, 65,536 … events: what a proof needs besides leaves. Rows are added only. */
export const ledgerNodes = pgTable(
  "ledger_nodes",
  {
    accountId: byteText("account_id").notNull(),
    level: integer("level").notNull(),
    index: bigint("index", { mode: "number" }).notNull(),
    hash: binary("hash").notNull(),
  },
  (table) => [primaryKey({ columns: [table.accountId, table.level, table.index] })],
);

/** One row: up to where events have got their positions. `src/ledger/find-work.ts` has its invariants. */
export const ledgerProgress = pgTable("ledger_progress", {
  name: byteText("name").primaryKey(),
  turn: bigint("turn", { mode: "number" }).notNull().default(0),
  nextTransaction: transactionId("next_transaction").notNull().default("0"),
  openTransactions: transactionId("open_transactions").array().notNull().default(sql`'{}'`),
  openSequences: bigint("open_sequences", { mode: "number" }).array().notNull().default(sql`'{}'`),
  oldAccount: byteText("old_account").notNull().default(""),
  oldSequence: bigint("old_sequence", { mode: "number" }).notNull().default(0),
  oldDone: boolean("old_done").notNull().default(false),
});

/**
 * Assigns events to customers by a keyed digest of the customer's id: events can be found by the id after the records were
 * deleted, although the id is not stored. It is not a part of the event or its leaf, so every proof stays valid if rows are
 * deleted, as when the customer is erased.
 */
export const auditEventCustomers = pgTable(
  "audit_event_customers",
  {
    accountId: byteText("account_id").notNull(),
    customerDigest: binary("customer_digest").notNull(),
    sequence: bigint("sequence", { mode: "number" }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.accountId, table.customerDigest, table.sequence] })],
);
