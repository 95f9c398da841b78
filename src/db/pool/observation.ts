import type { StatementObserver } from "../client.ts";
import { withoutValues } from "../database-error.ts";
import type { Connection } from "./connection.ts";
import type { Client } from "./driver.ts";

/** Notifies observers of what the connections of a pool do, and how long that takes. */
export class Observation {
  readonly observers = new Set<StatementObserver>();

  /** Reports a statement that was sent at `sentAt` and has ended. Time during which earlier ones ran is not counted. */
  ended({ freedAt }: Connection, text: string, sentAt: number, error?: unknown): void {
    if (this.observers.size === 0) return;
    const startedAt = Math.max(sentAt, freedAt);
    const failure = error === undefined ? undefined : withoutValues(error);
    const ended = { text, startedAt, endedAt: performance.now(), failure };
    for (const observer of this.observers) observer.statementEnded(ended);
  }

  /** Reports the wait of a statement or transaction that was sent at `sentAt` and has freed its connection. */
  left(connection: Connection, sentAt: number): void {
    const waited = Math.max(connection.freedAt - sentAt, 0);
    for (const observer of this.observers) observer.waited?.(waited);
    connection.freedAt = performance.now();
  }

  /** Waits for a statement of a transaction. Errors contain none of its values. */
  async inside<T>(connection: Connection, text: string, statement: PromiseLike<T>): Promise<T> {
    const sentAt = performance.now();
    try {
      const value = await statement;
      this.ended(connection, text, sentAt);
      return value;
    } catch (error) {
      this.ended(connection, text, sentAt, error);
      throw withoutValues(error);
    }
  }

  /** One transaction: it is committed if `work` resolves, and rolled back if it fails. */
  async transaction<T>(connection: Connection, work: (tx: Client) => Promise<T>): Promise<T> {
    let text = "begin";
    let sentAt = performance.now();
    const next = (sent: string) => {
      text = sent;
      sentAt = performance.now();
    };
    const begun = async (tx: Client) => {
      this.ended(connection, text, sentAt);
      const value = await work(tx).catch((error) => {
        next("rollback");
        throw error;
      });
      next("commit");
      return value;
    };
    try {
      const value = await connection.client.begin("isolation level read committed", begun);
      this.ended(connection, text, sentAt);
      return value as T;
    } catch (error) {
      // The rollback itself succeeded: the error is that of an earlier statement.
      this.ended(connection, text, sentAt, text === "rollback" ? undefined : error);
      throw error;
    }
  }
}
