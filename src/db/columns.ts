import { customType, timestamp } from "drizzle-orm/pg-core";

/** Text that sorts by its bytes, as ids do. This order is the same on every server and faster than a language's. */
export const byteText = customType<{ data: string }>({ dataType: () => 'text collate "C"' });
/** A transaction's number, which no database uses twice. */
export const transactionId = customType<{ data: string }>({ dataType: () => "xid8" });
export const binary = customType<{ data: Buffer }>({ dataType: () => "bytea" });
export const instant = (name: string) =>
  timestamp(name, { withTimezone: true, precision: 3, mode: "string" });
