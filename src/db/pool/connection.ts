import type { Socket } from "node:net";
import postgres from "postgres";
import { unavailable } from "../../errors.ts";
import { type Cancellable, cancel, TYPES } from "./driver.ts";
import type { Hosts } from "./hosts.ts";
import { failedSocket, openSocket } from "./open-socket.ts";
import type { ServerAddress } from "./server-address.ts";

/** One statement or transaction on its way. */
export interface Run {
  /** The caller was told that it did not succeed in time. */
  late: boolean;
  /** What the driver was asked for last. */
  query: Cancellable | undefined;
}

/**
 * A client of the driver with one connection, which is opened when it is needed. The driver's pool of several keeps a
 * hole in its queue for each statement that it has moved on, looks through all of them for the next, and so grows
 * slower while it runs.
 */
export interface Connection {
  readonly client: postgres.Sql;
  /** The last that was opened for it, without its encryption. */
  socket: Socket | undefined;
  /** Which of the hosts that was. */
  host: number;
  /** When it first did what was asked: milliseconds since the start of the process. Undefined: not yet. */
  servedAt: number | undefined;
  /** When it last finished a statement or transaction. Milliseconds of `performance.now()`. */
  freedAt: number;
  /** How often its socket was closed so far. */
  closes: number;
  /** Statements and transactions that it has not finished. */
  load: number;
  /** The same one by one, the oldest first. */
  readonly runs: Set<Run>;
  /** Whether it has led to nothing: the server has no place for it, or takes no writes. What waits for it was not sent. */
  wasRefused: boolean;
  /** Whether it was given up: nothing comes of it any more. */
  isCut: boolean;
  /** Whether the socket that is opened now only carries the wish to stop a statement. */
  isCancelling: boolean;
}

/** As much load as a transaction makes, behind which nothing else moves on. */
export const TRANSACTION_LOAD = 1000;

/** Default of `connect_timeout`. Milliseconds. */
const CONNECT_TIMEOUT = 2000;
/** A request that comes meanwhile waits for it, and then for its own attempt. */
const RECONNECT_AFTER_SECONDS = 0.2;

export interface ConnectionEvents {
  /** Its socket was closed, also by us. */
  closed(connection: Connection): void;
  /** It is new, and there is another host, which may take writes. */
  refused(connection: Connection): void;
  /** Its server, which it has used for a while, takes no writes any more. */
  readOnly(connection: Connection): void;
}

/** A connection to the first of the hosts that will do. Nothing is sent before the first statement. */
export function openConnection(
  address: ServerAddress,
  hosts: Hosts,
  { prepare, session }: { prepare: boolean; session: Record<string, string> },
  events: ConnectionEvents,
): Connection {
  const timeout = address.connectTimeout ?? CONNECT_TIMEOUT;
  const client = withoutTargetOfEnv(() =>
    postgres({
      // All that the driver would take from the environment otherwise. Our own sockets make the rest of no effect.
      ...{ host: "localhost", port: 5432, ssl: false, sslnegotiation: null, idle_timeout: 0, debug: false },
      ...{ max: 1, max_lifetime: null, max_pipeline: 100, fetch_types: false, types: TYPES, prepare },
      ...{ user: address.user, pass: address.password, database: address.database },
      connect_timeout: timeout / 1000,
      keep_alive: address.keepAlive || null,
      backoff: () => RECONNECT_AFTER_SECONDS,
      // Server notices can quote values of records, and the default prints them.
      onnotice: () => {},
      connection: session,
      onclose: () => {
        connection.closes += 1;
        events.closed(connection);
      },
      onparameter: (name: string, value: string) => {
        if (!READ_ONLY_PARAMETERS.has(name) || value !== "on") return;
        if (connection.servedAt !== undefined) events.readOnly(connection);
        else if (hosts.mayLeave(connection.host)) {
          // The driver is about to send what waits for it.
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
    ...{ load: 0, runs: new Set(), wasRefused: false, isCut: false, isCancelling: false },
  };
  return connection;
}

/** By which a server says at the start of a session, and when it changes, that it takes no writes. */
const READ_ONLY_PARAMETERS = new Set(["in_hot_standby", "default_transaction_read_only"]);

/** The driver's socket: it always gets one, since it would wait for ever for what fails otherwise. */
async function openFor(connection: Connection, hosts: Hosts, { tls }: ServerAddress, timeout: number) {
  const { isCancelling } = connection;
  const lost = () => connection.isCut && !isCancelling;
  // The driver tells of changes, and this is another server.
  for (const name of READ_ONLY_PARAMETERS) delete connection.client.parameters[name];
  let failure: Error = unavailable(new Error("the connection was lost"));
  for (const index of isCancelling ? [connection.host] : hosts.inTurn()) {
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

/** The driver takes some values of this variable, though it has nothing to do with our sockets, and fails on others. */
function withoutTargetOfEnv<T>(make: () => T): T {
  const { PGTARGETSESSIONATTRS: target } = process.env;
  delete process.env.PGTARGETSESSIONATTRS;
  try {
    return make();
  } finally {
    if (target !== undefined) process.env.PGTARGETSESSIONATTRS = target;
  }
}

/** Ends a connection at once, and asks its server to stop what it does for it. Resolves when it is closed. */
export async function cutConnection(connection: Connection): Promise<void> {
  const { client, socket } = connection;
  const [oldest] = connection.runs;
  connection.isCancelling = true;
  // On a socket of its own, and the last one.
  if (oldest?.query) cancel(oldest.query);
  connection.isCancelling = false;
  connection.isCut = true;
  // A socket that is only ended takes answers until the other side ends it, too: the server would work on. And once
  // the driver has ended it, it can't be reset any more: Node would leave it open for ever.
  if (socket?.remoteFamily) socket.resetAndDestroy();
  else socket?.destroy();
  await client.end({ timeout: 0 });
}
