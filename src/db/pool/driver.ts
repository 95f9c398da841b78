import type postgres from "postgres";
import { ARRAY_TYPES } from "./array-types.ts";

/** Times stay PostgreSQL's text, because a Date has no infinity and costs more. The numbers are PostgreSQL's type numbers. */
const AS_WRITTEN = { to: 1184, from: [1082, 1114, 1184], serialize: asWritten, parse: asWritten };

/** Types whose values are neither text nor number. */
export const TYPES = { date: AS_WRITTEN, ...ARRAY_TYPES };

/** The driver's query object. Its types hide `canceller`, and its public `cancel` returns no promise whose error we could catch. */
export interface Cancellable {
  canceller?: ((query: unknown) => Promise<void> | undefined) | null;
}

/** Asks the server over a separate connection to cancel a statement. Whether the request arrives is not known. */
export function cancel(query: Cancellable): void {
  query.canceller?.(query)?.catch(() => {});
}

/** What runs a statement: a connection, or a transaction on it. */
export type Client = Pick<postgres.Sql, "unsafe">;
type Values = Parameters<postgres.Sql["unsafe"]>[1];

/** Sends one statement. Rows are lists of values in the order of the columns. Afterwards `run.query` is this statement. */
export function sendOn(
  client: Client,
  run: { query: Cancellable | undefined },
  text: string,
  values: readonly unknown[],
  prepare: boolean,
) {
  const query = client.unsafe(text, values as Values, { prepare });
  run.query = query as Cancellable;
  return query.values() as Promise<unknown[][]>;
}

/** Sends one unprepared statement, or several without values. Rows are objects. Afterwards `run.query` is this statement. */
export function executeOn<Row extends object>(
  client: Client,
  run: { query: Cancellable | undefined },
  text: string,
  values: readonly unknown[] = [],
) {
  const query = client.unsafe<Row[]>(text, values as Values);
  run.query = query as Cancellable;
  return query as Promise<Row[]>;
}

function asWritten(text: string): string {
  return text;
}
