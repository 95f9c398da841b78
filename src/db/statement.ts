import { is, Param, Placeholder, SQL, sql } from "drizzle-orm";
import { PgDialect } from "drizzle-orm/pg-core";
import { drizzle } from "drizzle-orm/postgres-js";
import type { Executor } from "./client.ts";

/** Builds SQL without a connection. */
const writer = drizzle.mock();
const dialect = new PgDialect();

/**
 * A statement of a store. `build` writes its SQL with placeholders once; each call is one round trip. `read` makes a
 * row from the values, which are in the order of the columns.
 */
export function statement<Values extends Record<string, unknown>, Row = never>(
  build: (sql: typeof writer) => SQL | { toSQL(): { sql: string; params: unknown[] } },
  // biome-ignore lint/suspicious/noExplicitAny: only the caller, who selects the columns, knows their types.
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

/** A query after common table expressions. Those that write are executed even if the query does not read them. */
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
