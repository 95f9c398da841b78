import { bigint, pgTable, text } from "drizzle-orm/pg-core";
import { byteText, instant } from "./columns.ts";

/**
 * The keys that have been used with this database. They reveal that a key is missing, or that a different key has its id. A
 * fingerprint is useless without its key.
 */
export const encryptionKeys = pgTable("encryption_keys", {
  id: byteText("id").primaryKey(),
  fingerprint: text("fingerprint").notNull(),
  createdAt: instant("created_at").notNull(),
  /** Approximately how many texts were sealed under it. Counts that a killed process had not added are missing. */
  seals: bigint("seals", { mode: "number" }).notNull().default(0),
});

/** States that the database has reached permanently, such as "no number is stored plain". */
export const milestones = pgTable("milestones", {
  name: byteText("name").primaryKey(),
  reachedAt: instant("reached_at").notNull(),
});

/** Random secrets that outlive every encryption key, sealed under one of them. */
export const secrets = pgTable("secrets", {
  name: byteText("name").primaryKey(),
  sealed: text("sealed").notNull(),
});
