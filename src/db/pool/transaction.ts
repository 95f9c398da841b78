import { lateAnswer, unavailable } from "../../errors.ts";
import type { Executor } from "../client.ts";
import type { Connection, Run } from "./connection.ts";
import { type Client, executeOn, sendOn } from "./driver.ts";
import type { Observation } from "./observation.ts";

interface OpenTransaction {
  connection: Connection;
  run: Run;
  tx: Client;
  prepare: boolean;
  observation: Observation;
}

/**
 * Does the work of an open transaction. If the connection is lost, or the time limit has passed, the rest of the work
 * fails before anything reaches the driver: after a lost connection, the driver would run statements outside any
 * transaction, and would write COMMIT or ROLLBACK to a closed socket, which ends the process.
 */
export async function runInside<T>(
  { connection, run, tx, prepare, observation }: OpenTransaction,
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
        return await observation.inside(connection, text, sendOn(tx, run, text, values, prepare));
      },
      execute: async <Row extends object>(text: string, values?: readonly unknown[]) => {
        requireConnection();
        return await observation.inside(connection, text, executeOn<Row>(tx, run, text, values));
      },
    });
    requireConnection();
    return value;
  } catch (error) {
    if (connection.closes !== closes) await connection.client.end({ timeout: 0 });
    throw error;
  }
}
