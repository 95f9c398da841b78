import { randomBytes } from "node:crypto";
import postgres from "postgres";
import { inject } from "vitest";
import type { Database } from "../../src/db/client.ts";
import { connect } from "../../src/db/pool/pool.ts";
import { databaseUrl } from "./postgres-server.ts";

export const POOL_SIZE = 10;
/** Tests share their machine: what is slow there is no failure. Milliseconds. */
const PATIENCE = { statementTimeout: 30_000, transactionTimeout: 30_000 };

/** A database and a pool on it. `drop` ends what the caller was given. */
interface TestDatabase {
  url: string;
  db: Database;
  drop(): Promise<void>;
}

/** Another pool on a database of a test: what a second replica has. */
export async function joinTestDatabase(url: string): Promise<TestDatabase> {
  const db = connect({ address: { url }, poolSize: POOL_SIZE, prepare: true, ...PATIENCE });
  return { url, db, drop: () => db.close() };
}

let connection: postgres.Sql | undefined;

/** This process's connection to the tests' server, kept until the process ends: a new one costs as much as a database. */
function administrator(): postgres.Sql {
  connection ??= postgres(inject("postgresUrl"), { max: 1, fetch_types: false, onnotice: () => {} });
  return connection;
}

/** Creates a database on the tests' server as a copy of another: of the migrated one, or of one without tables. */
export async function createDatabase(template = "template1"): Promise<string> {
  const sql = administrator();
  // The prefix is what the global teardown knows clones by, should this process die before it drops them.
  const name = `${inject("templateDatabase")}_${randomBytes(6).toString("hex")}`;
  const [server] = await sql`select current_setting('server_version_num')::int as version`;
  // Logging every page takes several times as long as copying the files, which is all that older servers do.
  const strategy = server?.version < 150_000 ? "" : "strategy file_copy";
  await sql.unsafe(`create database ${name} template ${template} ${strategy}`);
  return name;
}

/** Ends the connections to a database of the tests' server, and removes it. */
export async function dropDatabase(name: string): Promise<void> {
  await administrator().unsafe(`drop database if exists ${name} with (force)`);
}

/**
 * A migrated, empty database of the caller's own, and a pool on it. Calls at the same time are safe, from any number
 * of workers. `drop` ends the pool and every other connection to the database, and removes it.
 */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = await createDatabase(inject("templateDatabase"));
  const url = databaseUrl(inject("postgresUrl"), name);
  const joined = await joinTestDatabase(url);
  return {
    ...joined,
    drop: async () => {
      await joined.drop();
      await dropDatabase(name);
    },
  };
}
