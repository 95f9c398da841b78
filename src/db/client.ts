import postgres from "postgres";
import { unavailable } from "../errors.ts";
import { withoutValues } from "./database-error.ts";

/** Where the database is: a server's URL, or the socket of the embedded one. */
type DatabaseAddress = { url: string } | { socketPath: string };

/**
 * What a statement runs on: the pool, or one transaction on one of its connections. What fails here fails with a
 * DatabaseError or with UNAVAILABLE, and never with the values of a statement.
 */
export interface Executor {
  /** Sends a statement that each connection prepares once. Rows hold their values in the order of the columns. */
  send(text: string, values: readonly unknown[]): Promise<unknown[][]>;
  /** Sends a statement, or several where there are no values, without preparing it. Rows have the names of columns. */
  execute<Row extends object = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
  ): Promise<Row[]>;
}

export interface Database extends Executor {
  /**
   * One transaction: committed when `work` resolves, rolled back when it fails. Fails with UNAVAILABLE where it takes
   * longer than `deadline` milliseconds: whether it was committed is unknown then.
   */
  transaction<T>(work: (tx: Executor) => Promise<T>, deadline?: number): Promise<T>;
  /** Ends the pool: statements under way may finish for some seconds, then their connections are cut. */
  close(): Promise<void>;
}

/**
 * A pool of at most `poolSize` connections, opened as they are needed: nothing is sent before the first statement.
 * `prepare: false` is for poolers that can't keep prepared statements.
 */
export function connect(options: PoolOptions): Database {
  return new Pool(options);
}

const CONNECT_TIMEOUT_SECONDS = 2;
/** A request that comes meanwhile waits for it, and then for its own attempt. */
const RECONNECT_AFTER_SECONDS = 0.2;
const CLOSE_TIMEOUT_SECONDS = 2;
/** A database that does not answer must not keep requests waiting. Milliseconds. */
const STATEMENT_DEADLINE = 5000;
const TRANSACTION_DEADLINE = 8000;

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

/**
 * Each connection is a client of its own: the driver's pool of several keeps a hole in its queue for each statement
 * that it has moved on, looks through all of them for the next, and so grows slower while it runs.
 */
class Pool implements Database {
  readonly #open: () => Connection;
  readonly #prepare: boolean;
  readonly #connections: Connection[];

  constructor({ address, poolSize, prepare }: PoolOptions) {
    const settings = {
      max: 1,
      prepare,
      connect_timeout: CONNECT_TIMEOUT_SECONDS,
      backoff: () => RECONNECT_AFTER_SECONDS,
      // Server notices can quote values of records, and the default prints them.
      onnotice: () => {},
      connection: { application_name: "kyc-gateway" },
      types: { date: AS_WRITTEN },
    };
    this.#prepare = prepare;
    this.#open = () => {
      const onclose = () => {
        connection.closes += 1;
        // What its transaction still sends must meet no one else's statements on a connection made anew.
        if (connection.load >= TRANSACTION_LOAD) void this.#replace(connection, 0);
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
    return this.#run(({ client }) => sendOn(client, text, values, this.#prepare), 1, STATEMENT_DEADLINE);
  }

  execute<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]> {
    return this.#run(({ client }) => executeOn<Row>(client, text, values), 1, STATEMENT_DEADLINE);
  }

  transaction<T>(work: (tx: Executor) => Promise<T>, deadline = TRANSACTION_DEADLINE): Promise<T> {
    const begin = (connection: Connection) =>
      connection.client.begin((tx) => this.#runInside(connection, tx, work)) as Promise<T>;
    return this.#run(begin, TRANSACTION_LOAD, deadline);
  }

  /**
   * Lets nothing more of a transaction reach the driver once its connection is gone: the driver would run it outside
   * of any transaction, or write COMMIT or ROLLBACK to a socket that is no more, which ends the process.
   */
  async #runInside<T>(connection: Connection, tx: Client, work: (tx: Executor) => Promise<T>): Promise<T> {
    const { closes } = connection;
    const requireConnection = () => {
      if (connection.closes !== closes) throw unavailable(new Error("the connection was lost"));
    };
    try {
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

  async close(): Promise<void> {
    await Promise.all(this.#connections.map(({ client }) => client.end({ timeout: CLOSE_TIMEOUT_SECONDS })));
  }

  #run<T>(work: (connection: Connection) => Promise<T>, load: number, deadline: number): Promise<T> {
    const connection = this.#leastLoaded();
    connection.load += load;
    return new Promise<T>((resolve, reject) => {
      const onLate = () => {
        void this.#replace(connection, CLOSE_TIMEOUT_SECONDS);
        reject(unavailable(new Error("the database did not answer in time")));
      };
      const timer = deadline === Number.POSITIVE_INFINITY ? undefined : setTimeout(onLate, deadline);
      const done = () => {
        connection.load -= load;
        clearTimeout(timer);
      };
      work(connection).then(
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

  /** What is silent may stay so for as long as TCP has patience: nothing more is to wait for it. */
  async #replace(connection: Connection, timeoutSeconds: number): Promise<void> {
    const index = this.#connections.indexOf(connection);
    if (index !== -1) this.#connections[index] = this.#open();
    await connection.client.end({ timeout: timeoutSeconds });
  }
}

interface PoolOptions {
  address: DatabaseAddress;
  poolSize: number;
  prepare: boolean;
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
