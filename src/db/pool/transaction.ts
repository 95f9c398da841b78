import { lateAnswer, unavailable } from "../../errors.ts";
import type { Executor } from "../client.ts";
import { withoutValues } from "../database-error.ts";
import type { Connection, Run } from "./connection.ts";
import { type Client, executeOn, sendOn } from "./driver.ts";

/**
 * Lets nothing more of a transaction reach the driver once its connection is gone: the driver would run it outside
 * of any transaction, or write COMMIT or ROLLBACK to a socket that is no more, which ends the process. One that is
 * late is rolled back.
 */
export async function runInside<T>(
  connection: Connection,
  run: Run,
  tx: Client,
  prepare: boolean,
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
        return await sendOn(tx, run, text, values, prepare).catch(rethrowWithoutValues);
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

function rethrowWithoutValues(error: unknown): never {
  throw withoutValues(error);
}
