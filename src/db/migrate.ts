import { fileURLToPath } from "node:url";
import { type MigrationMeta, readMigrationFiles } from "drizzle-orm/migrator";
import type { Database, Executor } from "./client.ts";

const FOLDER = fileURLToPath(new URL("./migrations", import.meta.url));
const LOCK_KEY = 5_492_311_080;

/**
 * Afterwards every migration of this release is applied. Several replicas may call it at once: one applies, the
 * others wait for it. Lock and migrations share one transaction, so that nothing is half applied, and so that the
 * lock holds behind a transaction pooler too; Drizzle's own migrator takes no lock and can't run in a transaction.
 */
export async function migrate(db: Database): Promise<void> {
  if (await isMigrated(db)) return;
  const steps = async (tx: Executor) => {
    await tx.execute("set local statement_timeout = 0");
    await tx.execute(`select pg_advisory_xact_lock(${LOCK_KEY})`);
    await tx.execute("create schema if not exists drizzle");
    await tx.execute(
      "create table if not exists drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint)",
    );
    await applyPending(tx);
  };
  // However long another replica or a large table takes.
  await db.transaction(steps, Number.POSITIVE_INFINITY);
}

async function applyPending(tx: Executor): Promise<void> {
  const rows = await tx.execute<{ last: string | null }>(
    "select max(created_at) as last from drizzle.__drizzle_migrations",
  );
  const last = Number(rows[0]?.last ?? 0);
  for (const { sql: statements, hash, folderMillis } of readMigrations()) {
    if (folderMillis <= last) continue;
    for (const statement of statements) await tx.execute(statement);
    await tx.execute("insert into drizzle.__drizzle_migrations (hash, created_at) values ($1, $2)", [
      hash,
      folderMillis,
    ]);
  }
}

/** Whether the database has every migration of this release. Fails when it can't be reached. */
export async function isMigrated(db: Database): Promise<boolean> {
  const [found] = await db.execute<{ exists: boolean }>(
    "select to_regclass('drizzle.__drizzle_migrations') is not null as exists",
  );
  if (!found?.exists) return false;
  const newest = Math.max(...readMigrations().map((migration) => migration.folderMillis));
  const [row] = await db.execute<{ applied: boolean }>(
    "select exists (select from drizzle.__drizzle_migrations where created_at >= $1) as applied",
    [newest],
  );
  return row?.applied ?? false;
}

let migrations: MigrationMeta[] | undefined;

/** This release's own, read once: a build that goes on meanwhile does not change what runs. */
function readMigrations(): MigrationMeta[] {
  migrations ??= readMigrationFiles({ migrationsFolder: FOLDER });
  return migrations;
}
