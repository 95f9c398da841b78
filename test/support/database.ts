import { randomBytes } from "node:crypto";
import { inject } from "vitest";
import type { Database } from "../../src/db/client.ts";
import { connect } from "../../src/db/pool/pool.ts";
import { administer, databaseUrl } from "./postgres-server.ts";

const POOL_SIZE = 10;
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

/**
 * A migrated, empty database of the caller's own, and a pool on it. Calls at the same time are safe, from any number
 * of workers. `drop` ends the pool and every other connection to the database, and removes it.
 */
export async function createTestDatabase(): Promise<TestDatabase> {
  const server = inject("postgresUrl");
  const template = inject("templateDatabase");
  const name = `${template}_${randomBytes(6).toString("hex")}`;
  await administer(server, `create database ${name} template ${template}`);

  const url = databaseUrl(server, name);
  const joined = await joinTestDatabase(url);
  return {
    ...joined,
    drop: async () => {
      await joined.drop();
      await administer(server, `drop database ${name} with (force)`);
    },
  };
}
