import { lateAnswer } from "../../errors.ts";
import type { Database, Executor, Listening, PoolUsage, StatementObserver } from "../client.ts";
import { withoutValues } from "../database-error.ts";
import { type DatabaseAddress, serverAt } from "./address.ts";
import { type Connection, openConnection, type Run, TRANSACTION_LOAD } from "./connection.ts";
import { Connections, type Open } from "./connections.ts";
import { executeOn, sendOn } from "./driver.ts";
import { Hosts } from "./hosts.ts";
import { openListener } from "./listener.ts";
import { Observation } from "./observation.ts";
import { renewPlans } from "./renew-plans.ts";
import { FAST_SETTINGS, SESSION_SETTINGS, SET_LOCAL } from "./session.ts";
import { StatementQueue } from "./statement-queue.ts";
import { runInside } from "./transaction.ts";

interface PoolOptions {
  address: DatabaseAddress;
  /** The maximum number of connections. There are fewer while the server accepts no more. */
  poolSize: number;
  prepare: boolean;
  /**
   * How many statements and transactions may be running or waiting. One whose caller has given up counts until it ends.
   * Above the limit, others fail with UNAVAILABLE. Default: any number.
   */
  queueLimit?: number;
  /** How long a statement may take, including its wait for a connection. Default 5 s. Milliseconds. */
  statementTimeout?: number;
  /** The same for a transaction. Default 10 s. Milliseconds. */
  transactionTimeout?: number;
  /**
   * How the session gets its settings. `at the start`: together with these time limits, so that the server enforces them,
   * too; some poolers refuse that. `in each transaction`: every statement costs three more round trips. Default: not at all.
   */
  settings?: "at the start" | "in each transaction" | undefined;
  /** False behind a pooler that shares connections, so that none of them can listen. Default true. */
  listens?: boolean;
}

/**
 * Creates a pool of at most `poolSize` connections, or twice as many while some do not answer in time. They are opened when
 * they are needed: nothing is sent before the first statement. `prepare: false` is for poolers that can't keep prepared
 * statements. Fails with a DatabaseUrlError.
 */
export function connect(options: PoolOptions): Database {
  return new Pool(options);
}

const CLOSE_TIMEOUT_SECONDS = 2;
/** The server ends an idle transaction this long after its time limit. A running process has ended it before. */
const IDLE_GRACE_MS = 1000;

/** The server or the role has no connection left: use another connection of the pool. */
const TOO_MANY_CONNECTIONS = "53300";
/** The server is starting or stopping: another host may accept connections. */
const CANNOT_CONNECT_NOW = "57P03";
/** The server accepts no writes. */
const READ_ONLY = "25006";
/** An unknown prepared statement, or messages out of order: a pooler has switched the session. */
const FOREIGN_SESSION = /^(26000|08P01)$/;

class Pool implements Database {
  readonly queue: StatementQueue;
  readonly urgent: Executor = {
    send: (text, values) => this.send(text, values, true),
    execute: (text, values) => this.execute(text, values, this.#statementTimeout, true),
  };
  readonly #hosts: Hosts;
  readonly #connections: Connections;
  readonly #prepare: boolean;
  readonly #setsLocally: boolean;
  readonly #statementTimeout: number;
  readonly #transactionTimeout: number;
  readonly #observation = new Observation();
  readonly #open: Open;
  readonly #listens: boolean;

  constructor({ address, poolSize, prepare, settings, listens = true, ...limits }: PoolOptions) {
    this.#statementTimeout = limits.statementTimeout ?? 5000;
    this.queue = new StatementQueue(limits.queueLimit, this.#statementTimeout);
    this.#transactionTimeout = limits.transactionTimeout ?? 10_000;
    this.#prepare = prepare;
    this.#setsLocally = settings === "in each transaction";
    const server = serverAt(address);
    const session = {
      ...server.session,
      ...(settings === "at the start" && {
        ...SESSION_SETTINGS,
        ...FAST_SETTINGS,
        statement_timeout: String(this.#statementTimeout),
        // A transaction whose connection is lost would hold its locks until TCP gives up.
        idle_in_transaction_session_timeout: String(this.#transactionTimeout + IDLE_GRACE_MS),
      }),
    };
    this.#hosts = new Hosts(server.hosts, server.writableOnly);
    this.#listens = listens && "url" in address;
    this.#open = (events) => openConnection(server, this.#hosts, { prepare, session }, events);
    this.#connections = new Connections({
      size: poolSize,
      hosts: this.#hosts,
      open: this.#open,
      patience: this.#statementTimeout,
      maxLifetime: server.maxLifetime,
    });
  }

  send(text: string, values: readonly unknown[], urgent = false): Promise<unknown[][]> {
    if (this.#setsLocally) return this.#alone((tx) => tx.send(text, values), this.#statementTimeout, urgent);
    const work = ({ client }: Connection, run: Run) => sendOn(client, run, text, values, this.#prepare);
    return this.#run(work, { text, load: loadOf(urgent), deadline: this.#statementTimeout, urgent });
  }

  execute<Row extends object>(
    text: string,
    values?: readonly unknown[],
    deadline = this.#statementTimeout,
    urgent = false,
  ): Promise<Row[]> {
    if (this.#setsLocally) return this.#alone((tx) => tx.execute<Row>(text, values), deadline, urgent);
    const work = ({ client }: Connection, run: Run) => executeOn<Row>(client, run, text, values);
    return this.#run(work, { text, load: loadOf(urgent), deadline, urgent });
  }

  transaction<T>(work: (tx: Executor) => Promise<T>, deadline = this.#transactionTimeout): Promise<T> {
    return this.#alone(work, deadline);
  }

  #alone<T>(work: (tx: Executor) => Promise<T>, deadline: number, urgent = false): Promise<T> {
    const settings = [
      ...(this.#setsLocally ? [SET_LOCAL] : []),
      // The session's own limit does not apply to this statement.
      ...(deadline === Number.POSITIVE_INFINITY ? ["set local statement_timeout = 0"] : []),
    ].join(";");
    const inside = settings
      ? async (tx: Executor) => {
          await tx.execute(settings);
          return work(tx);
        }
      : work;
    const begin = (connection: Connection, run: Run) =>
      this.#observation.transaction(connection, (tx) =>
        runInside({ connection, run, tx, prepare: this.#prepare, observation: this.#observation }, inside),
      );
    return this.#run(begin, { load: TRANSACTION_LOAD, deadline, urgent });
  }

  async listen(listening: Listening): Promise<(() => Promise<void>) | undefined> {
    return this.#listens ? openListener(this.#open, listening, this.#statementTimeout) : undefined;
  }

  observe(observer: StatementObserver): () => void {
    const { observers } = this.#observation;
    observers.add(observer);
    return () => observers.delete(observer);
  }

  usage(): PoolUsage {
    return { ...this.#connections.usage(), refused: this.queue.refused };
  }

  async close(): Promise<void> {
    await this.#connections.close(CLOSE_TIMEOUT_SECONDS);
  }

  #run<T>(
    work: (connection: Connection, run: Run) => Promise<T>,
    { text, load, deadline, urgent }: { text?: string; load: number; deadline: number; urgent: boolean },
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.queue.enter(urgent);
      let sentAt = 0;
      const run: Run = { late: false, query: undefined };
      let connection = this.#connections.leastLoaded();
      let tries = 0;
      const onLate = () => {
        run.late = true;
        this.#connections.retire(connection);
        reject(lateAnswer());
      };
      const timer = deadline === Number.POSITIVE_INFINITY ? undefined : setTimeout(onLate, deadline);
      const leave = (failure?: unknown) => {
        if (text !== undefined) this.#observation.ended(connection, text, sentAt, failure);
        this.#observation.left(connection, sentAt);
        connection.load -= load;
        connection.runs.delete(run);
        if (connection.load === 0) this.#connections.idle(connection);
      };
      const end = () => {
        this.queue.leave();
        clearTimeout(timer);
      };
      const onValue = (value: T) => {
        this.#connections.served(connection);
        leave();
        end();
        resolve(value);
      };
      const onError = (error: unknown) => {
        leave(error);
        tries += 1;
        const next = run.late ? undefined : this.#nextFor(connection, error, tries);
        if (next) {
          connection = next;
          start();
          return;
        }
        end();
        this.#consider(connection, error);
        reject(withoutValues(error));
      };
      const start = () => {
        sentAt = performance.now();
        if (this.#prepare) renewPlans(connection, sentAt);
        connection.load += load;
        connection.runs.add(run);
        work(connection, run).then(onValue, onError);
      };
      start();
    });
  }

  /** The connection for a statement that was not sent because its connection failed; undefined if the statement fails. */
  #nextFor(connection: Connection, error: unknown, tries: number): Connection | undefined {
    const code = codeOf(error);
    if (connection.servedAt !== undefined) return undefined;
    if (connection.wasRefused || (code === TOO_MANY_CONNECTIONS && this.#connections.drop(connection))) {
      return this.#connections.leastLoaded();
    }
    if (code !== CANNOT_CONNECT_NOW || tries >= this.#hosts.count) return undefined;
    this.#hosts.avoid(connection.host);
    return connection;
  }

  /** Replaces or closes a connection if its failure shows that it can't be used. */
  #consider(connection: Connection, error: unknown): void {
    const code = codeOf(error);
    if (code === "CONNECT_TIMEOUT") void this.#connections.discard(connection);
    else if (code === READ_ONLY) this.#connections.renew(connection);
    else if (code !== undefined && FOREIGN_SESSION.test(code)) this.#connections.retire(connection);
  }
}

/** Other statements avoid the connection of an urgent one, which can take as long as a transaction. */
const loadOf = (urgent: boolean) => (urgent ? TRANSACTION_LOAD : 1);

/** Also finds the code of an error that a transaction has already converted for the caller. */
function codeOf(error: unknown): string | undefined {
  const { code, cause } = (error ?? {}) as { code?: string; cause?: { code?: string } };
  return code === "UNAVAILABLE" ? cause?.code : code;
}
