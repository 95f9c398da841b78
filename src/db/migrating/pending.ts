import type { Executor } from "../client.ts";
import { type ConcurrentIndex, type Migration, ownMigrations } from "./migration-files.ts";

/** The migrations and indexes of a release that a database does not have. */
export interface Pending {
  migrations: Migration[];
  /** Indexes to build. An invalid one is being built, or its build was interrupted. */
  indexes: (ConcurrentIndex & { state: "missing" | "invalid" })[];
  /** Names of indexes to drop. */
  obsolete: string[];
}

/** Finds which of these migrations and their indexes the database does not have. Fails if it can't be reached. */
export async function findPending(
  db: Executor,
  migrations: readonly Migration[] = ownMigrations(),
): Promise<Pending> {
  const last = await lastApplied(db);
  return {
    migrations: migrations.filter(({ createdAt }) => createdAt > last),
    indexes: await findPendingIndexes(db, migrations),
    obsolete: await findObsoleteIndexes(db, migrations),
  };
}

export function isNothing({ migrations, indexes, obsolete }: Pending): boolean {
  return migrations.length === 0 && indexes.length === 0 && obsolete.length === 0;
}

/** Whether the database has all migrations and indexes of this release. Fails if it can't be reached. */
export async function isMigrated(db: Executor): Promise<boolean> {
  return isNothing(await findPending(db));
}

/** `createdAt` of the newest applied migration, in epoch milliseconds; 0 if there is none. */
export async function lastApplied(db: Executor): Promise<number> {
  const [found] = await db.execute<{ exists: boolean }>(
    "select to_regclass('drizzle.__drizzle_migrations') is not null as exists",
  );
  if (!found?.exists) return 0;
  const [row] = await db.execute<{ last: string | null }>(
    "select max(created_at) as last from drizzle.__drizzle_migrations",
  );
  return Number(row?.last ?? 0);
}

async function findPendingIndexes(
  db: Executor,
  migrations: readonly Migration[],
): Promise<Pending["indexes"]> {
  const indexes = migrations.flatMap(({ concurrentIndexes }) => concurrentIndexes);
  if (indexes.length === 0) return [];
  const rows = await db.execute<{ name: string; valid: boolean | null }>(
    `select name, indisvalid as valid from unnest($1::text[]) as name
     left join pg_index on indexrelid = to_regclass(quote_ident(name))`,
    [indexes.map(({ name }) => name)],
  );
  const validity = new Map(rows.map(({ name, valid }) => [name, valid]));
  return indexes
    .filter(({ name }) => validity.get(name) !== true)
    .map((index) => ({ ...index, state: validity.get(index.name) === null ? "missing" : "invalid" }));
}

async function findObsoleteIndexes(db: Executor, migrations: readonly Migration[]): Promise<string[]> {
  const names = migrations.flatMap(({ obsoleteIndexes }) => obsoleteIndexes);
  if (names.length === 0) return [];
  const rows = await db.execute<{ name: string }>(
    "select name from unnest($1::text[]) as name where to_regclass(quote_ident(name)) is not null",
    [names],
  );
  return rows.map(({ name }) => name);
}
