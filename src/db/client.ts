import type { StatementQueue } from "./pool/statement-queue.ts";

/**
 * Runs statements: on the pool, or in one transaction on one of its connections. Its errors are a DatabaseError or
 * UNAVAILABLE and never contain the values of a statement.
 */
export interface Executor {
  /** Sends a statement, which each connection prepares once. Rows are lists of values in the order of the columns. */
  send(text: string, values: readonly unknown[]): Promise<unknown[][]>;
  /** Sends an unprepared statement, or several if there are no values. Rows are objects. */
  execute<Row extends object = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
  ): Promise<Row[]>;
}

/** A statement that was answered, or that failed. */
export interface EndedStatement {
  /** With placeholders, and without values. `begin`, `commit` and `rollback` are statements, too. */
  text: string;
  /** When it was sent, or when its connection was free for it if that was later. Milliseconds of `performance.now()`. */
  startedAt: number;
  endedAt: number;
  /** Undefined: it was answered. */
  failure: unknown;
}

/** Receives each statement when it ends, in the async context of its caller, and each wait for a connection. */
export interface StatementObserver {
  statementEnded(statement: EndedStatement): void;
  /** How long a statement or transaction waited behind others for its connection. Milliseconds. */
  waited?(milliseconds: number): void;
}

/** The present state of a pool. */
export interface PoolUsage {
  /** Connections that wait for the database. */
  inUse: number;
  idle: number;
  /** Connections that have been replaced, for example because they did not answer in time, and are not closed yet. */
  retired: number;
  /** Statements and transactions that wait for others on their connections. */
  waiting: number;
  /** Statements and transactions that were refused because the queue was full. */
  refused: number;
}

/** A channel whose notifications arrive on a separate connection. */
export interface Listening {
  /** Lower-case letters and underscores. */
  channel: string;
  onNotification(payload: string): void;
  /** The connection is lost, so no more notifications arrive. Not called after we have closed it. */
  onClosed(): void;
}

export interface Database extends Executor {
  /** Limits the statements in progress. Code that delays a statement reserves a slot for it. */
  readonly queue: StatementQueue;
  /** Runs statements even if the queue is full. Only for a few statements: those that check the database's state or seal events. */
  readonly urgent: Executor;
  usage(): PoolUsage;
  /** Adds an observer, until the returned function is called. */
  observe(observer: StatementObserver): () => void;
  /** As in Executor. `deadline` is its time limit in milliseconds. */
  execute<Row extends object = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
    deadline?: number,
  ): Promise<Row[]>;
  /**
   * Runs a transaction: it is committed if `work` resolves, and rolled back if `work` fails. Fails with UNAVAILABLE if
   * it takes longer than `deadline` milliseconds; then it may or may not have been committed.
   */
  transaction<T>(work: (tx: Executor) => Promise<T>, deadline?: number): Promise<T>;
  /**
   * Opens a separate connection and listens on it until the returned function is called. Returns undefined if notifications
   * can't arrive: through a pooler that shares connections, and from the embedded database. Fails if the connection can't be
   * opened.
   */
  listen(listening: Listening): Promise<(() => Promise<void>) | undefined>;
  /** Closes the pool. Running statements have some seconds to finish; then their connections are cut. */
  close(): Promise<void>;
}
