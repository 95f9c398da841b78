import { connect as openSocket, type Socket } from "node:net";
import type postgres from "postgres";
import { ARRAY_TYPES } from "./array-types.ts";

/** Times as PostgreSQL spells them: a Date has no infinity, and costs more. The numbers are those of its types. */
const AS_WRITTEN = { to: 1184, from: [1082, 1114, 1184], serialize: asWritten, parse: asWritten };

/** The types whose values are neither texts nor numbers. */
export const TYPES = { date: AS_WRITTEN, ...ARRAY_TYPES };

/** What the driver makes of a statement. It hides this from TypeScript, and its `cancel` from whoever must catch. */
export interface Cancellable {
  canceller?: ((query: unknown) => Promise<void> | undefined) | null;
}

/** What the driver hands to who opens its sockets: hosts to be tried in turn, or the path of a socket. */
export interface SocketTarget {
  host: string[];
  port: number[];
  path?: string | false;
}

/** As the driver does it, which keeps its sockets to itself. It reads the host that a certificate must be for there. */
export function openSocketTo({ host, port, path }: SocketTarget, attempt: number): Socket {
  if (path) return openSocket(path);
  const at = { host: host[attempt % host.length] as string, port: port[attempt % port.length] as number };
  return Object.assign(openSocket(at), at);
}

/** Asks the server, on a connection of its own, to stop a statement. Whether it hears of it is unknown. */
export function cancel(query: Cancellable): void {
  query.canceller?.(query)?.catch(() => {});
}

/** Where a statement goes: a connection, or its transaction. */
export type Client = Pick<postgres.Sql, "unsafe">;
type Values = Parameters<postgres.Sql["unsafe"]>[1];

/** Sends a statement, prepared unless told; rows hold values in the order of the columns. `run` knows it from then on. */
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

/** Sends a statement, or several without values, unprepared; rows have the names of columns. `run` knows it from then on. */
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
