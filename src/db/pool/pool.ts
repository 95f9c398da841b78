import type { Socket } from "node:net";
import postgres from "postgres";
import { lateAnswer, unavailable } from "../../errors.ts";
import type { Database, Executor, PoolUsage } from "../client.ts";
import { withoutValues } from "../database-error.ts";
import {
  type Cancellable,
  type Client,
  cancel,
  executeOn,
  openSocketTo,
  type SocketTarget,
  sendOn,
  TYPES,
} from "./driver.ts";
import { StatementQueue } from "./statement-queue.ts";

/** Where the database is: a server's URL, or the socket of the embedded one. */
export type DatabaseAddress = { url: string } | { socketPath: string };

interface PoolOptions {
  address: DatabaseAddress;
  poolSize: number;
  prepare: boolean;
  /**
   * Statements and transactions that may be under way or wait, those included that nobody waits for any more; others
   * fail with UNAVAILABLE. Default: any number.
   */
  queueLimit?: number;
  /** How long a statement may take, with its wait for a connection. Default 5 s. Milliseconds. */
  statementTimeout?: number;
  /** The same of a transaction. Default 10 s. Milliseconds. */
  transactionTimeout?: number;
  /** Whether the server is told of these limits, and ends what takes longer. Some poolers refuse that. */
  tellTimeout?: boolean;
}

/**
 * A pool of at most `poolSize` connections, and as many again while they do not answer in time. They are opened as
 * they are needed: nothing is sent before the first statement. `prepare: false` is for poolers that can't keep
 * prepared statements.
 */
export function connect(options: PoolOptions): Database {
  return new Pool(options);
}

const CONNECT_TIMEOUT_SECONDS = 2;
/** A request that comes meanwhile waits for it, and then for its own attempt. */
const RECONNECT_AFTER_SECONDS = 0.2;
const CLOSE_TIMEOUT_SECONDS = 2;
/** How much longer than a transaction may take the server lets one idle: whoever is there ends it first. Milliseconds. */
const IDLE_GRACE = 1000;

interface Connection {
  readonly client: postgres.Sql;
  /** The last that was opened for it. */
  socket: Socket | undefined;
  /** Whether it has ever done what was asked. */
  hasServed: boolean;
  /** How often its socket was closed so far. */
  closes: number;
  /** Statements and transactions that it has not finished. */
  load: number;
  /** The same one by one, the oldest first. */
  readonly runs: Set<Run>;
  /** Whether it was given up: nothing comes of it any more. */
  isCut: boolean;
}

/** As much load as a transaction makes, behind which nothing else moves on. */
const TRANSACTION_LOAD = 1000;

/** One statement or transaction on its way. */
interface Run {
  /** The one who asked was told that it did not succeed in time. */
  late: boolean;
  /** What the driver was asked for last. */
  query: Cancellable | undefined;
}

/**
 * Each connection is a client of its own: the driver's pool of several keeps a hole in its queue for each statement
 * that it has moved on, looks through all of them for the next, and so grows slower while it runs.
 */
class Pool implements Database {
  readonly queue: StatementQueue;
  readonly #open: () => Connection;
  readonly #prepare: boolean;
  readonly urgent: Executor = {
    send: (text, values) => this.send(text, values, true),
    execute: (text, values) => this.execute(text, values, this.#statementTimeout, true),
  };
  readonly #statementTimeout: number;
  readonly #transactionTimeout: number;
  readonly #connections: Connection[];
  #isClosed = false;
  /** Those that did not answer in time: each ends when it does, or is cut. */
  readonly #retired = new Set<Connection>();

  constructor({ address, poolSize, prepare, ...limits }: PoolOptions) {
    this.#statementTimeout = limits.statementTimeout ?? 5000;
    this.queue = new StatementQueue(limits.queueLimit, this.#statementTimeout);
    this.#transactionTimeout = limits.transactionTimeout ?? 10_000;
    const settings = {
      max: 1,
      prepare,
      connect_timeout: CONNECT_TIMEOUT_SECONDS,
      backoff: () => RECONNECT_AFTER_SECONDS,
      // Server notices can quote values of records, and the default prints them.
      onnotice: () => {},
      connection: {
        application_name: "kyc-gateway",
        ...(limits.tellTimeout && {
          statement_timeout: this.#statementTimeout,
          // What was cut off in a transaction would hold its locks for as long as TCP has patience.
          idle_in_transaction_session_timeout: this.#transactionTimeout + IDLE_GRACE,
        }),
      },
      fetch_types: false,
      types: TYPES,
    };
    this.#prepare = prepare;
    this.#open = () => {
      const onclose = () => {
        connection.closes += 1;
        // What its transaction still sends must meet no one else's statements on a connection made anew. And the driver
        // keeps what it was about to write: on its next socket it would write that first, or nothing any more.
        if (connection.hasServed || connection.load >= TRANSACTION_LOAD) void this.#discard(connection);
      };
      let attempts = 0;
      const socket = (target: SocketTarget) => {
        // What waits in the driver would open it again, and nobody would close that.
        if (connection.isCut) throw unavailable(new Error("the connection was lost"));
        connection.socket = openSocketTo(target, attempts);
        attempts += 1;
        return connection.socket;
      };
      const options = { ...settings, onclose, socket };
      const client =
        "url" in address
          ? postgres(address.url, options)
          : postgres({
              ...options,
              ...{ path: address.socketPath, database: "postgres", username: "postgres" },
            });
      const unused = { socket: undefined, hasServed: false, closes: 0, load: 0, isCut: false };
      const connection: Connection = { client, ...unused, runs: new Set() };
      return connection;
    };
    this.#connections = Array.from({ length: poolSize }, this.#open);
  }

  send(text: string, values: readonly unknown[], urgent = false): Promise<unknown[][]> {
    const work = ({ client }: Connection, run: Run) => sendOn(client, run, text, values, this.#prepare);
    return this.#run(work, 1, this.#statementTimeout, urgent);
  }

  execute<Row extends object>(
    text: string,
    values?: readonly unknown[],
    deadline = this.#statementTimeout,
    urgent = false,
  ): Promise<Row[]> {
    return this.#run(({ client }, run) => executeOn<Row>(client, run, text, values), 1, deadline, urgent);
  }

  transaction<T>(work: (tx: Executor) => Promise<T>, deadline = this.#transactionTimeout): Promise<T> {
    // The server was told of a limit that is not this one's.
    const inside =
      deadline === Number.POSITIVE_INFINITY
        ? async (tx: Executor) => {
            await tx.execute("set local statement_timeout = 0");
            return work(tx);
          }
        : work;
    const begin = (connection: Connection, run: Run) =>
      connection.client.begin((tx) => this.#runInside(connection, run, tx, inside)) as Promise<T>;
    return this.#run(begin, TRANSACTION_LOAD, deadline);
  }

  /**
   * Lets nothing more of a transaction reach the driver once its connection is gone: the driver would run it outside
   * of any transaction, or write COMMIT or ROLLBACK to a socket that is no more, which ends the process. One that is
   * late is rolled back.
   */
  async #runInside<T>(
    connection: Connection,
    run: Run,
    tx: Client,
    work: (tx: Executor) => Promise<T>,
  ): Promise<T> {
    const { closes } = connection;
    const requireConnection = () => {
      if (connection.closes !== closes) throw unavailable(new Error("the connection was lost"));
      if (run.late) throw lateAnswer();
    };
    try {
      requireConnection();
      const value = await work({
        send: async (text, values) => {
          requireConnection();
          return await sendOn(tx, run, text, values, this.#prepare).catch(rethrowWithoutValues);
        },
        execute: async <Row extends object>(text: string, values?: readonly unknown[]) => {
          requireConnection();
          return await executeOn<Row>(tx, run, text, values).catch(rethrowWithoutValues);
        },
      });
      requireConnection();
      return value;
    } catch (error) {
      if (connection.closes !== closes) await connection.client.end({ timeout: 0 });
      throw error;
    }
  }

  usage(): PoolUsage {
    let inUse = 0;
    let pending = 0;
    for (const { load } of this.#connections) {
      if (load === 0) continue;
      inUse += 1;
      pending += Math.floor(load / TRANSACTION_LOAD) + (load % TRANSACTION_LOAD);
    }
    const idle = this.#connections.length - inUse;
    return {
      inUse,
      idle,
      retired: this.#retired.size,
      waiting: pending - inUse,
      refused: this.queue.refused,
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#connections, ...this.#retired];
    await Promise.all(all.map(({ client }) => client.end({ timeout: CLOSE_TIMEOUT_SECONDS })));
  }

  #run<T>(
    work: (connection: Connection, run: Run) => Promise<T>,
    load: number,
    deadline: number,
    urgent = false,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.queue.enter(urgent);
      const connection = this.#leastLoaded();
      const run: Run = { late: false, query: undefined };
      connection.load += load;
      connection.runs.add(run);
      const onLate = () => {
        run.late = true;
        this.#retire(connection);
        reject(lateAnswer());
      };
      const timer = deadline === Number.POSITIVE_INFINITY ? undefined : setTimeout(onLate, deadline);
      const done = () => {
        connection.load -= load;
        connection.runs.delete(run);
        this.queue.leave();
        clearTimeout(timer);
        if (connection.load === 0 && this.#retired.has(connection)) void this.#discard(connection);
      };
      work(connection, run).then(
        (value) => {
          connection.hasServed = true;
          done();
          resolve(value);
        },
        (error) => {
          done();
          if (error?.code === "CONNECT_TIMEOUT") void this.#discard(connection);
          reject(withoutValues(error));
        },
      );
    });
  }

  #leastLoaded(): Connection {
    let least = this.#connections[0] as Connection;
    for (const connection of this.#connections) if (connection.load < least.load) least = connection;
    return least;
  }

  /**
   * Nothing more is to wait for what is silent. The server may still be at work on it, and would be if the socket were
   * cut: as many as the pool has can be so, and no more.
   */
  #retire(connection: Connection): void {
    if (this.#retired.size >= this.#connections.length || !this.#replace(connection)) return;
    this.#retired.add(connection);
    this.#later(() => this.#cut(connection));
  }

  /**
   * Ends what stays silent: it may do so for as long as TCP has patience, and so would all that waits for it. It keeps
   * its place until the server has given up as well, of which it is told.
   */
  async #cut(connection: Connection): Promise<void> {
    if (!this.#retired.has(connection)) return;
    const [oldest] = connection.runs;
    // Others have more time, or all there is.
    if ([...connection.runs].some(({ late }) => !late)) {
      this.#later(() => this.#cut(connection));
      return;
    }
    const { client, socket } = connection;
    // On a socket of its own, and the last one.
    if (oldest?.query) cancel(oldest.query);
    connection.isCut = true;
    // A socket that is only ended takes answers until the other side ends it, too: the server would work on. And once
    // the driver has ended it, it can't be reset any more: Node would leave it open for ever.
    if (socket?.remoteFamily) socket.resetAndDestroy();
    else socket?.destroy();
    await client.end({ timeout: 0 });
    this.#later(() => this.#leave(connection));
  }

  async #discard(connection: Connection): Promise<void> {
    if (connection.isCut || this.#isClosed) return;
    connection.isCut = true;
    this.#replace(connection);
    this.#leave(connection);
    await connection.client.end({ timeout: 0 });
  }

  /** Gives the place among the retired to one that is silent and found none. */
  #leave(connection: Connection): void {
    if (!this.#retired.delete(connection)) return;
    const silent = this.#connections.find(({ runs }) => [...runs].some(({ late }) => late));
    if (silent) this.#retire(silent);
  }

  #later(work: () => unknown): void {
    setTimeout(work, this.#statementTimeout).unref();
  }

  /** False where something else has its place already. */
  #replace(connection: Connection): boolean {
    const index = this.#connections.indexOf(connection);
    if (index === -1) return false;
    this.#connections[index] = this.#open();
    return true;
  }
}

function rethrowWithoutValues(error: unknown): never {
  throw withoutValues(error);
}
