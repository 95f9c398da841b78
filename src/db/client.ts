import { drizzle, type PostgresJsDatabase } from "drizzle-orm/postgres-js";
import postgres from "postgres";

/** Where the database is: a server's URL, or the socket of the embedded one. */
export type DatabaseAddress = { url: string } | { socketPath: string };

export type Database = PostgresJsDatabase & { $client: postgres.Sql };

/** What a statement runs on: the pool, or one transaction on one of its connections. */
export type Executor = Pick<PostgresJsDatabase, "select" | "insert" | "update" | "delete" | "execute">;

const CONNECT_TIMEOUT_SECONDS = 2;
/** A request that comes meanwhile waits for it, and then for its own attempt. */
const RECONNECT_AFTER_SECONDS = 0.2;
const CLOSE_TIMEOUT_SECONDS = 2;

/**
 * A pool of at most `poolSize` connections, opened as they are needed: nothing is sent before the first statement.
 * `prepare: false` is for poolers that can't keep prepared statements.
 */
export function connect(options: { address: DatabaseAddress; poolSize: number; prepare: boolean }): Database {
  const { address, poolSize, prepare } = options;
  const settings = {
    max: poolSize,
    prepare,
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    backoff: () => RECONNECT_AFTER_SECONDS,
    // Server notices can quote values of records, and the default prints them.
    onnotice: () => {},
    connection: { application_name: "kyc-gateway" },
  };
  const client =
    "url" in address
      ? postgres(address.url, settings)
      : postgres({ ...settings, path: address.socketPath, database: "postgres", username: "postgres" });
  return drizzle(client);
}

/** Ends the pool: statements under way may finish for some seconds, then their connections are cut. */
export async function disconnect(db: Database): Promise<void> {
  await db.$client.end({ timeout: CLOSE_TIMEOUT_SECONDS });
}
