import { type SQL, sql } from "drizzle-orm";
import type { AnyPgColumn } from "drizzle-orm/pg-core";
import type { OrderName } from "../vocabulary.ts";

/** The time by which an order sorts. It is never null, because rows are compared: records without an expiry sort last. */
export function orderKey(
  table: Record<"createdAt" | "updatedAt" | "statusSince" | "expiresAt", AnyPgColumn>,
  order: OrderName,
): SQL {
  if (order === "created_at") return sql`${table.createdAt}`;
  if (order === "updated_at") return sql`${table.updatedAt}`;
  if (order === "expires_at") return sql`coalesce(${table.expiresAt}, 'infinity'::timestamptz)`;
  return sql`coalesce(${table.statusSince}, ${table.updatedAt})`;
}
