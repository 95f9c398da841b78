import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { packageFile } from "../../package-file.ts";

/** One migration file, as written by drizzle-kit. */
export interface Migration {
  name: string;
  /** Epoch milliseconds. Migrations are applied in this order. */
  createdAt: number;
  hash: string;
  /** The statements that run in one transaction. */
  statements: string[];
  /** Indexes on existing tables, which are built while the tables are in use. */
  concurrentIndexes: ConcurrentIndex[];
  /** Names of indexes that are dropped once all others are built, because one of those replaces them. */
  obsoleteIndexes: string[];
}

/** An index that is built while its table is read and written. PostgreSQL can't do this inside a transaction. */
export interface ConcurrentIndex {
  name: string;
  /** The statement that builds it. */
  statement: string;
}

const CONCURRENT_INDEX = /^\s*create (?:unique )?index concurrently (?:if not exists )?"(\w+)"/i;
const OBSOLETE_INDEX = /^\s*drop index concurrently (?:if exists )?"(\w+)"/i;

/** The migrations in a folder, in order. */
function readMigrations(folder: string): Migration[] {
  const journal = JSON.parse(readFileSync(`${folder}/meta/_journal.json`, "utf8"));
  const files = readMigrationFiles({ migrationsFolder: folder });
  const builtBy = (statement: string) => CONCURRENT_INDEX.exec(statement)?.[1];
  const droppedBy = (statement: string) => OBSOLETE_INDEX.exec(statement)?.[1] ?? [];
  const obsolete = new Set(files.flatMap(({ sql }) => sql.flatMap(droppedBy)));
  return files.map(({ sql, hash, folderMillis }, index) => ({
    name: journal.entries[index].tag,
    createdAt: folderMillis,
    hash,
    statements: sql.filter((text) => builtBy(text) === undefined && !OBSOLETE_INDEX.test(text)),
    concurrentIndexes: sql.flatMap((statement) => {
      const name = builtBy(statement);
      return name === undefined || obsolete.has(name) ? [] : [{ name, statement }];
    }),
    obsoleteIndexes: sql.flatMap(droppedBy),
  }));
}

const FOLDER = fileURLToPath(packageFile("db/migrations"));
let own: Migration[] | undefined;

/** This release's migrations. They are read once, so a build at the same time does not change them. */
export function ownMigrations(): Migration[] {
  own ??= readMigrations(FOLDER);
  return own;
}
