import type { ConcurrentIndex, Migration } from "../../src/db/migrating/migration-files.ts";
import { ownMigrations } from "../../src/db/migrating/migration-files.ts";

/** An index of the next release, as drizzle-kit writes it. */
export const FUTURE_INDEX: ConcurrentIndex = {
  name: "kycs_by_update",
  statement:
    'CREATE INDEX CONCURRENTLY "kycs_by_update" ON "kycs" USING btree ("account_id","updated_at","id");',
};

/** This release's migrations and one more, as the next release would have it. */
export function futureMigrations(change: Partial<Migration>): Migration[] {
  const own = ownMigrations();
  const createdAt = Math.max(...own.map((migration) => migration.createdAt)) + 1;
  const blank = { name: "9999_future", createdAt, hash: "future", statements: [] };
  return [...own, { ...blank, concurrentIndexes: [], obsoleteIndexes: [], ...change }];
}
