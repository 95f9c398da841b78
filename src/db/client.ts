import type { StatementQueue } from "./pool/statement-queue.ts";

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

/** A statement that was answered, or that failed. */
export interface EndedStatement {
  /** With placeholders, and without values. `begin`, `commit` and `rollback` are statements, too. */
  text: string;
  /** When it was sent, or would have been if no other one had been in its way. Milliseconds of `performance.now()`. */
  startedAt: number;
  endedAt: number;
  /** Undefined: it was answered. */
  failure: unknown;
}

/** Gets each statement when it ends, in the async context of whoever asked for it, and each wait for a connection. */
export interface StatementObserver {
  statementEnded(statement: EndedStatement): void;
  /** How long a statement or transaction waited behind others for its connection. Milliseconds. */
  waited(milliseconds: number): void;
}

/** What a pool's connections do at this moment. */
export interface PoolUsage {
  /** Connections that the database owes an answer. */
  inUse: number;
  idle: number;
  /** Connections that did not answer in time, and whose places others have taken. */
  retired: number;
  /** Statements and transactions behind others on their connections. */
  waiting: number;
  /** Statements and transactions that found no place in the queue so far. */
  refused: number;
}

export interface Database extends Executor {
  /** Where its statements have their places, and where whoever holds one back takes a place for it. */
  readonly queue: StatementQueue;
  /** As the database itself, and also where its queue is full: for the few statements that tell how it is. */
  readonly urgent: Executor;
  usage(): PoolUsage;
  /** From now on this observer, and no other one, gets what ends and what has waited. */
  observe(observer: StatementObserver): void;
  /** As an Executor's; `deadline` is how long it may take. Milliseconds. */
  execute<Row extends object = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
    deadline?: number,
  ): Promise<Row[]>;
  /**
   * One transaction: committed when `work` resolves, rolled back when it fails. Fails with UNAVAILABLE where it takes
   * longer than `deadline` milliseconds: whether it was committed is unknown then.
   */
  transaction<T>(work: (tx: Executor) => Promise<T>, deadline?: number): Promise<T>;
  /** Ends the pool: statements under way may finish for some seconds, then their connections are cut. */
  close(): Promise<void>;
}
