import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { packageFile } from "../../package-file.ts";

/** One file of migrations, as drizzle-kit writes it. */
export interface Migration {
  name: string;
  /** Its place among the others: epoch milliseconds, rising. */
  createdAt: number;
  hash: string;
  /** What changes the schema inside one transaction. */
  statements: string[];
  /** Indexes on tables that are in use. */
  concurrentIndexes: ConcurrentIndex[];
}

/** An index that is built while its table is read and written, which no transaction can do. */
export interface ConcurrentIndex {
  name: string;
  /** The statement that builds it. */
  statement: string;
}

const CONCURRENT_INDEX = /^\s*create (?:unique )?index concurrently (?:if not exists )?"(\w+)"/i;

/** The migrations in a folder, in their order. */
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

/** This release's own, read once: a build that goes on meanwhile does not change what runs. */
export function ownMigrations(): Migration[] {
  own ??= readMigrations(FOLDER);
  return own;
}
