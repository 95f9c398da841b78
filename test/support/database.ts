import { randomBytes } from "node:crypto";
import { inject } from "vitest";
import type { Database } from "../../src/db/client.ts";
import { connect } from "../../src/db/pool.ts";
import { administer, databaseUrl } from "./postgres-server.ts";

const POOL_SIZE = 10;

/**
 * A migrated, empty database of the caller's own, and a pool on it. Calls at the same time are safe, from any number
 * of workers. `drop` ends the pool and every other connection to the database, and removes it.
 */
export async function createTestDatabase(): Promise<{ url: string; db: Database; drop(): Promise<void> }> {
  const server = inject("postgresUrl");
  const template = inject("templateDatabase");
  const name = `${template}_${randomBytes(6).toString("hex")}`;
  await administer(server, `create database ${name} template ${template}`);

  const url = databaseUrl(server, name);
  const db = connect({ address: { url }, poolSize: POOL_SIZE, prepare: true });
  return {
    url,
    db,
    drop: async () => {
      await db.close();
      await administer(server, `drop database ${name} with (force)`);
    },
  };
}
