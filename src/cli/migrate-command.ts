import { Command, Option } from "commander";
import { hasDatabase } from "../db/embedded/embedded.ts";
import { ownMigrations } from "../db/migrating/migration-files.ts";
import { findPending, isNothing } from "../db/migrating/pending.ts";
import { readConfig, withDatabase, withOpenDatabase } from "./command.ts";
import { print, say } from "./print.ts";

/** The exit code of a check that finds something. */
const PENDING = 1;

/** `migrate`, and `migrate --check`. */
export function migrateCommand(): Command {
  return new Command("migrate")
    .description("migrate the database to this release, while gateways of the previous release serve")
    .option("--check", "change nothing: list what is pending, and exit with 1 if anything is")
    .addOption(new Option("--json", "with --check: print JSON").default(false))
    .action(async ({ check, json }: { check?: boolean; json: boolean }) => {
      if (check) {
        if (await printPending(json)) process.exitCode = PENDING;
        return;
      }
      await withDatabase(async () => undefined);
      say("The database is up to date.");
    });
}

/** Prints what `migrate` would do, and returns whether that is anything. */
async function printPending(json: boolean): Promise<boolean> {
  const config = readConfig();
  const exists = config.databaseUrl !== undefined || hasDatabase(config.dataDir);
  // A check must not create a database.
  const pending = exists
    ? await withOpenDatabase(config, ({ db }) => findPending(db))
    : { migrations: ownMigrations(), indexes: [], obsolete: [] };
  const migrations = pending.migrations.map(({ name }) => name);
  const indexes = pending.indexes.map(({ name, state }) => ({ name, state }));
  const { obsolete } = pending;
  if (json) print(JSON.stringify({ migrations, indexes, obsolete }, null, 2));
  else if (isNothing(pending)) print("nothing pending");
  else {
    for (const name of migrations) print(`migration ${name}`);
    for (const { name, state } of indexes) print(`index ${name} (${state})`);
    for (const name of obsolete) print(`index ${name} (to drop)`);
  }
  return !isNothing(pending);
}
