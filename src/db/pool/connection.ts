import type { Socket } from "node:net";
import postgres from "postgres";
import { unavailable } from "../../errors.ts";
import { type Cancellable, cancel, TYPES } from "./driver.ts";
import type { Hosts } from "./hosts.ts";
import { failedSocket, openSocket } from "./open-socket.ts";
import type { ServerAddress } from "./server-address.ts";

/** One statement or transaction in progress. */
export interface Run {
  /** The caller has already received an error because the time limit passed. */
  late: boolean;
  /** The driver's query that was sent last. */
  query: Cancellable | undefined;
}

/**
 * A driver client with one connection, which opens when it is first needed. We do not use the driver's own pool: its
 * queue keeps an empty slot for each statement that it has moved to a connection and scans all of them for the next
 * one, so it gets slower the longer it runs.
 */
export interface Connection {
  readonly client: postgres.Sql;
  /** The TCP or Unix socket that was opened last, below TLS. */
  socket: Socket | undefined;
  /** The index of the host that `socket` leads to. */
  host: number;
  /** When it first completed a statement, in milliseconds since the process started. Undefined: not yet. */
  servedAt: number | undefined;
  /** When it last finished a statement or transaction. Milliseconds of `performance.now()`. */
  freedAt: number;
  /** How often its socket has been closed. */
  closes: number;
  /** When the first statement of its session was given to it, and until when its plans are kept. Milliseconds of `performance.now()`. */
  readonly plans: { since: number | undefined; until: number };
  /** Number of unfinished statements; a transaction counts as `TRANSACTION_LOAD`. */
  load: number;
  /** The unfinished statements and transactions, oldest first. */
  readonly runs: Set<Run>;
  /** Whether the server refused the connection: too many connections, or read-only. Waiting statements were not sent. */
  wasRefused: boolean;
  /** Whether it was closed permanently. */
  isCut: boolean;
  /** Whether the socket being opened only carries a cancel request. */
  isCancelling: boolean;
}

/** The load of one transaction. It is high because no other statement can proceed on the connection during one. */
export const TRANSACTION_LOAD = 1000;

/** Default of `connect_timeout`. */
const CONNECT_TIMEOUT_MS = 2000;
/** Pause before reconnecting. A request that arrives during the pause waits for its end and then for its own attempt. */
const RECONNECT_AFTER_SECONDS = 0.2;

export interface ConnectionEvents {
  /** Its socket was closed, by either side. */
  closed(connection: Connection): void;
  /** It is new and its server is read-only, and another host may accept writes. */
  refused(connection: Connection): void;
  /** Its server, which it has already used, has become read-only. */
  readOnly(connection: Connection): void;
  /** A notification has arrived, on a connection that listens. */
  notified?(channel: string, payload: string): void;
}

/** Creates a connection to the first suitable host. Nothing is sent before the first statement. */
export function openConnection(
  address: ServerAddress,
  hosts: Hosts,
  { prepare, session }: { prepare: boolean; session: Record<string, string> },
  events: ConnectionEvents,
): Connection {
  const timeout = address.connectTimeout ?? CONNECT_TIMEOUT_MS;
  const client = withoutTargetOfEnv(() =>
    postgres({
      // Settings that the driver would otherwise read from the environment. We open the sockets, so host and TLS have no effect.
      ...{ host: "localhost", port: 5432, ssl: false, sslnegotiation: null, idle_timeout: 0, debug: false },
      ...{ max: 1, max_lifetime: null, max_pipeline: 100, fetch_types: false, types: TYPES, prepare },
      ...{ user: address.user, pass: address.password, database: address.database },
      connect_timeout: timeout / 1000,
      keep_alive: address.keepAlive || null,
      backoff: () => RECONNECT_AFTER_SECONDS,
      // The default prints server notices, and they can contain values of records.
      onnotice: () => {},
      onnotify: (channel: string, payload: string) => events.notified?.(channel, payload),
      connection: session,
      onclose: () => {
        connection.closes += 1;
        connection.plans.since = undefined;
        events.closed(connection);
      },
      onparameter: (name: string, value: string) => {
        if (!READ_ONLY_PARAMETERS.has(name) || value !== "on") return;
        if (connection.servedAt !== undefined) events.readOnly(connection);
        else if (hosts.mayLeave(connection.host)) {
          // Destroy the socket now: next the driver would send the waiting statements.
          connection.socket?.destroy();
          connection.wasRefused = true;
          events.refused(connection);
        }
      },
      socket: () => openFor(connection, hosts, address, timeout),
    } as object),
  );
  const connection: Connection = {
    ...{ client, socket: undefined, host: 0, servedAt: undefined, freedAt: 0, closes: 0 },
    plans: { since: undefined, until: 0 },
    ...{ load: 0, runs: new Set(), wasRefused: false, isCut: false, isCancelling: false },
  };
  return connection;
}

/** A server reports these at the start of a session and whenever they change. `on` means that it is read-only. */
const READ_ONLY_PARAMETERS = new Set(["in_hot_standby", "default_transaction_read_only"]);

/**
 * Opens the driver's socket. If no host can be reached, it returns a stream that fails on its first write: if this
 * function failed instead, the driver would wait forever.
 */
async function openFor(connection: Connection, hosts: Hosts, { tls }: ServerAddress, timeout: number) {
  const { isCancelling } = connection;
  const lost = () => connection.isCut && !isCancelling;
  // The driver reports only changed parameters, and the new socket can lead to another server.
  for (const name of READ_ONLY_PARAMETERS) delete connection.client.parameters[name];
  let failure: Error = unavailable(new Error("the connection was lost"));
  for (const index of isCancelling ? [connection.host] : hosts.inOrder()) {
    if (lost()) break;
    connection.host = index;
    try {
      const keep = (socket: Socket) => {
        if (!isCancelling) connection.socket = socket;
      };
      const socket = await openSocket(hosts.at(index), tls, timeout, keep);
      if (!lost()) return socket;
      socket.destroy();
    } catch (error) {
      failure = error as Error;
      if (!isCancelling) hosts.avoid(index);
    }
  }
  return failedSocket(failure);
}

/** Hides PGTARGETSESSIONATTRS from the driver, which fails on some values although we choose the hosts ourselves. */
function withoutTargetOfEnv<T>(make: () => T): T {
  const { PGTARGETSESSIONATTRS: target } = process.env;
  delete process.env.PGTARGETSESSIONATTRS;
  try {
    return make();
  } finally {
    if (target !== undefined) process.env.PGTARGETSESSIONATTRS = target;
  }
}

/** Closes a connection immediately and asks its server to cancel the running statement. Resolves when it is closed. */
export async function cutConnection(connection: Connection): Promise<void> {
  const { client, socket } = connection;
  const [oldest] = connection.runs;
  connection.isCancelling = true;
  // The cancel request uses a new socket, the last one that this connection opens.
  if (oldest?.query) cancel(oldest.query);
  connection.isCancelling = false;
  connection.isCut = true;
  // Reset rather than end the socket: an ended socket still receives, so the server would continue to work. It must happen
  // before the driver ends the socket, because Node can't reset an ended socket and would leave it open forever.
  if (socket?.remoteFamily) socket.resetAndDestroy();
  else socket?.destroy();
  await client.end({ timeout: 0 });
}
