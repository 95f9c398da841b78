import postgres from "postgres";
import { overloaded, unavailable } from "../errors.ts";
import type { Database, Executor, PoolUsage } from "./client.ts";
import { withoutValues } from "./database-error.ts";

/** Where the database is: a server's URL, or the socket of the embedded one. */
export type DatabaseAddress = { url: string } | { socketPath: string };

interface PoolOptions {
  address: DatabaseAddress;
  poolSize: number;
  prepare: boolean;
  /** Statements and transactions that may be under way or wait; more fail with UNAVAILABLE. Default: any number. */
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

/** Times as PostgreSQL spells them: a Date has no infinity, and costs more. The numbers are those of its types. */
const AS_WRITTEN = { to: 1184, from: [1082, 1114, 1184], serialize: asWritten, parse: asWritten };

interface Connection {
  readonly client: postgres.Sql;
  /** How often its socket was closed so far. */
  closes: number;
  /** Statements and transactions that it has not finished. */
  load: number;
}

/** As much load as a transaction makes, behind which nothing else moves on. */
const TRANSACTION_LOAD = 1000;

/** One statement or transaction on its way; late: the one who asked was told that it did not succeed in time. */
interface Run {
  late: boolean;
}

/**
 * Each connection is a client of its own: the driver's pool of several keeps a hole in its queue for each statement
 * that it has moved on, looks through all of them for the next, and so grows slower while it runs.
 */
class Pool implements Database {
  readonly #open: () => Connection;
  readonly #prepare: boolean;
  readonly #queueLimit: number;
  readonly #statementTimeout: number;
  readonly #transactionTimeout: number;
  /** Statements and transactions that nobody has been answered about yet. */
  #waiting = 0;
  readonly #connections: Connection[];
  /** Those that did not answer in time: each ends when it does. */
  readonly #retired = new Set<Connection>();

  constructor({ address, poolSize, prepare, ...limits }: PoolOptions) {
    this.#queueLimit = limits.queueLimit ?? Number.POSITIVE_INFINITY;
    this.#statementTimeout = limits.statementTimeout ?? 5000;
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
      types: { date: AS_WRITTEN },
    };
    this.#prepare = prepare;
    this.#open = () => {
      const onclose = () => {
        connection.closes += 1;
        // What its transaction still sends must meet no one else's statements on a connection made anew.
        if (connection.load >= TRANSACTION_LOAD) void this.#discard(connection);
      };
      const client =
        "url" in address
          ? postgres(address.url, { ...settings, onclose })
          : postgres({
              ...settings,
              onclose,
              ...{ path: address.socketPath, database: "postgres", username: "postgres" },
            });
      const connection = { client, closes: 0, load: 0 };
      return connection;
    };
    this.#connections = Array.from({ length: poolSize }, this.#open);
  }

  send(text: string, values: readonly unknown[]): Promise<unknown[][]> {
    return this.#run(({ client }) => sendOn(client, text, values, this.#prepare), 1, this.#statementTimeout);
  }

  execute<Row extends object>(
    text: string,
    values?: readonly unknown[],
    deadline = this.#statementTimeout,
  ): Promise<Row[]> {
    return this.#run(({ client }) => executeOn<Row>(client, text, values), 1, deadline);
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
      if (run.late) throw late();
    };
    try {
      requireConnection();
      const value = await work({
        send: async (text, values) => {
          requireConnection();
          return await sendOn(tx, text, values, this.#prepare).catch(rethrowWithoutValues);
        },
        execute: async <Row extends object>(text: string, values?: readonly unknown[]) => {
          requireConnection();
          return await executeOn<Row>(tx, text, values).catch(rethrowWithoutValues);
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
    return { inUse, idle, retired: this.#retired.size, waiting: pending - inUse };
  }

  async close(): Promise<void> {
    const all = [...this.#connections, ...this.#retired];
    await Promise.all(all.map(({ client }) => client.end({ timeout: CLOSE_TIMEOUT_SECONDS })));
  }

  #run<T>(
    work: (connection: Connection, run: Run) => Promise<T>,
    load: number,
    deadline: number,
  ): Promise<T> {
    if (this.#waiting >= this.#queueLimit) return Promise.reject(overloaded());
    const connection = this.#leastLoaded();
    const run: Run = { late: false };
    connection.load += load;
    this.#waiting += 1;
    return new Promise<T>((resolve, reject) => {
      const onLate = () => {
        run.late = true;
        this.#waiting -= 1;
        this.#retire(connection);
        reject(late());
      };
      const timer = deadline === Number.POSITIVE_INFINITY ? undefined : setTimeout(onLate, deadline);
      const done = () => {
        connection.load -= load;
        if (!run.late) this.#waiting -= 1;
        clearTimeout(timer);
        if (connection.load === 0 && this.#retired.has(connection)) void this.#discard(connection);
      };
      work(connection, run).then(
        (value) => {
          done();
          resolve(value);
        },
        (error) => {
          done();
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
   * What is silent may stay so for as long as TCP has patience: nothing more is to wait for it. The server may still
   * be at work on it, and would be if the socket were cut: as many as the pool has can be so, and no more.
   */
  #retire(connection: Connection): void {
    if (this.#retired.size >= this.#connections.length || !this.#replace(connection)) return;
    this.#retired.add(connection);
  }

  async #discard(connection: Connection): Promise<void> {
    this.#replace(connection);
    this.#retired.delete(connection);
    await connection.client.end({ timeout: 0 });
  }

  /** False where something else has its place already. */
  #replace(connection: Connection): boolean {
    const index = this.#connections.indexOf(connection);
    if (index === -1) return false;
    this.#connections[index] = this.#open();
    return true;
  }
}

function late(): Error {
  return unavailable(new Error("the database did not answer in time"));
}

function asWritten(text: string): string {
  return text;
}

function rethrowWithoutValues(error: unknown): never {
  throw withoutValues(error);
}

type Client = Pick<postgres.Sql, "unsafe">;
type Values = Parameters<postgres.Sql["unsafe"]>[1];

function sendOn(client: Client, text: string, values: readonly unknown[], prepare: boolean) {
  return client.unsafe(text, values as Values, { prepare }).values() as Promise<unknown[][]>;
}

function executeOn<Row extends object>(client: Client, text: string, values: readonly unknown[] = []) {
  return client.unsafe<Row[]>(text, values as Values) as Promise<Row[]>;
}
