import { type Column, type SQL, sql } from "drizzle-orm";
import type { Bounds } from "./list.ts";
import type { Source } from "./list-store.ts";

/** The conditions of the bounds of a list that is sorted by one column of this type. */
export function boundConditions(
  column: Column,
  type: "bigint" | "text",
): Record<keyof Bounds<unknown>, (source: Source) => SQL> {
  const compared = (operator: "<" | ">" | "<=" | ">=", name: keyof Bounds<unknown>) => (source: Source) =>
    sql`${column} ${sql.raw(operator)} ${source(name)}::${sql.raw(type)}`;
  return {
    newerThan: compared(">", "newerThan"),
    olderThan: compared("<", "olderThan"),
    fromHereNewer: compared(">=", "fromHereNewer"),
    fromHereOlder: compared("<=", "fromHereOlder"),
  };
}
