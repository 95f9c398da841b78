import { bigint, pgTable, primaryKey, text } from "drizzle-orm/pg-core";
import { byteText, instant } from "./columns.ts";

/** How far each import of a file is. It is written together with the records, so that an import can be continued. */
export const imports = pgTable(
  "imports",
  {
    accountId: byteText("account_id").notNull(),
    /** A keyed digest of the file. Without the key, its contents can't be guessed from it. */
    source: text("source").notNull(),
    /** The request id of its events. */
    requestId: text("request_id").notNull(),
    /** Everything up to this line is done. */
    line: bigint("line", { mode: "number" }).notNull(),
    imported: bigint("imported", { mode: "number" }).notNull(),
    unchanged: bigint("unchanged", { mode: "number" }).notNull(),
    bad: bigint("bad", { mode: "number" }).notNull(),
    startedAt: instant("started_at").notNull(),
    /** Null while it is not finished. */
    finishedAt: instant("finished_at"),
  },
  (table) => [primaryKey({ columns: [table.accountId, table.source] })],
);
