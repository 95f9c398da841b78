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
}

/** An index that is built while its table is read and written. PostgreSQL can't do this inside a transaction. */
export interface ConcurrentIndex {
  name: string;
  /** The statement that builds it. */
  statement: string;
}

const CONCURRENT_INDEX = /^\s*create (?:unique )?index concurrently (?:if not exists )?"(\w+)"/i;

/** The migrations in a folder, in order. */
function readMigrations(folder: string): Migration[] {
  const journal = JSON.parse(readFileSync(`${folder}/meta/_journal.json`, "utf8"));
  return readMigrationFiles({ migrationsFolder: folder }).map(({ sql, hash, folderMillis }, index) => {
    const indexNameOf = (statement: string) => CONCURRENT_INDEX.exec(statement)?.[1];
    return {
      name: journal.entries[index].tag,
      createdAt: folderMillis,
      hash,
      statements: sql.filter((statement) => indexNameOf(statement) === undefined),
      concurrentIndexes: sql.flatMap((statement) => {
        const name = indexNameOf(statement);
        return name === undefined ? [] : [{ name, statement }];
      }),
    };
  });
}

const FOLDER = fileURLToPath(packageFile("db/migrations"));
let own: Migration[] | undefined;

/** This release's migrations. They are read once, so a build at the same time does not change them. */
export function ownMigrations(): Migration[] {
  own ??= readMigrations(FOLDER);
  return own;
}
