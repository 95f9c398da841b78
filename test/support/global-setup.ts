import { randomBytes } from "node:crypto";
import postgres from "postgres";
import type { TestProject } from "vitest/node";
import { migrate } from "../../src/db/migrating/migrate.ts";
import { administer, databaseUrl, startPostgres } from "./postgres-server.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** A maintenance database of the tests' server, as a user who may create databases. */
    postgresUrl: string;
    /** The migrated database that each test file clones. */
    templateDatabase: string;
  }
}

/**
 * Before the first test, provides a server (that of `TEST_DATABASE_URL`, whose user must be allowed to create databases,
 * or a fresh one) with the migrated template database. After the last test, removes the template, the clones that tests
 * left behind, and the fresh server.
 */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  // Vitest calls this for the root and again for each project, and what the root provides reaches them all.
  if (!project.isRootProject()) return;

  const given = process.env.TEST_DATABASE_URL;
  const server = given ? { url: given, stop: async () => {} } : await startPostgres();
  const template = `kyc_template_${randomBytes(6).toString("hex")}`;
  const teardown = async () => {
    try {
      await dropDatabases(server.url, template);
    } finally {
      await server.stop();
    }
  };

  try {
    await createTemplate(server.url, template);
  } catch (error) {
    await teardown();
    throw error;
  }
  project.provide("postgresUrl", server.url);
  project.provide("templateDatabase", template);
  return teardown;
}

async function createTemplate(url: string, name: string): Promise<void> {
  await administer(url, `create database ${name}`);
  await migrate({ url: databaseUrl(url, name) });
  // A database that anyone is connected to can't be cloned.
  await administer(url, `alter database ${name} with allow_connections false`);
}

async function dropDatabases(url: string, prefix: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    const names = await sql`select datname from pg_database where starts_with(datname, ${prefix})`;
    for (const { datname } of names) await sql`drop database if exists ${sql(datname)} with (force)`;
  } finally {
    await sql.end({ timeout: 5 });
  }
}
