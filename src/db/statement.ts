import { is, Param, Placeholder, SQL, sql } from "drizzle-orm";
import { PgDialect } from "drizzle-orm/pg-core";
import { drizzle } from "drizzle-orm/postgres-js";
import type { Executor } from "./client.ts";

/** Writes SQL, and sends none. */
const writer = drizzle.mock();
const dialect = new PgDialect();

/**
 * A statement of a store: its SQL, with placeholders, is written once by `build`; each call costs one round trip.
 * `read` makes a row of the values, which come in the order of the columns.
 */
export function statement<Values extends Record<string, unknown>, Row = never>(
  build: (sql: typeof writer) => SQL | { toSQL(): { sql: string; params: unknown[] } },
  // biome-ignore lint/suspicious/noExplicitAny: what the columns hold is known to the one who names them.
  read: (values: any) => Row = neverRead,
): (executor: Executor, values: Values) => Promise<Row[]> {
  let written: { sql: string; params: Bind[] } | undefined;
  return async (executor, values) => {
    if (!written) {
      const query = build(writer);
      const { sql, params } = is(query, SQL) ? dialect.sqlToQuery(query) : query.toSQL();
      written = { sql, params: params.map(toBind) };
    }
    const bound = written.params.map((bind) => bind(values));
    const rows = await executor.send(written.sql, bound);
    return rows.map((row) => read(row));
  };
}

/** A query with common table expressions before it; they may write, and do so whether the query reads them or not. */
export function withFirst(expressions: SQL, query: { getSQL(): SQL }): SQL {
  return sql`with ${expressions} ${query.getSQL()}`;
}

function neverRead(): never {
  throw new Error("a statement that returns rows must say how to read them");
}

type Bind = (values: Record<string, unknown>) => unknown;

function toBind(param: unknown): Bind {
  if (is(param, Placeholder)) {
    const { name } = param as { name: string };
    return (values) => values[name];
  }
  if (is(param, Param) && is(param.value, Placeholder)) {
    const { name } = param.value as { name: string };
    return (values) => values[name];
  }
  return () => param;
}
