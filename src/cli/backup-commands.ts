import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { byCommand, canRecordActs, recordActForAll } from "../administration/record-act.ts";
import type { Config } from "../config/config.ts";
import type { Executor } from "../db/client.ts";
import { backUp, KEYS } from "../db/embedded/backup.ts";
import { hasDatabase } from "../db/embedded/embedded.ts";
import { restore } from "../db/embedded/restore.ts";
import { CommandFailure, readConfig, withOpenDatabase } from "./command.ts";
import { say } from "./print.ts";

/** The configuration if the database is embedded. Otherwise it fails and names the tool to use `instead`. */
function embeddedConfig(instead: string): Config {
  const config = readConfig();
  if (config.databaseUrl === undefined) return config;
  throw new CommandFailure(`this is for the embedded database. Yours has its own tools: ${instead}`);
}

/** Writes the event. The copy does not have it. A database of an earlier release is backed up without one. */
async function recordBackup(tx: Executor): Promise<void> {
  if (!(await canRecordActs(tx))) return;
  await recordActForAll(tx, byCommand(), { action: "backup_taken", subject: null, at: Date.now() });
}

/** `backup` and `restore`. */
export function backupCommands(): Command[] {
  const backup = new Command("backup")
    .description("back up the embedded database to a file, whether its gateway runs or not")
    .argument("<file>", "the new file, such as kyc.tar.gz; it must not exist")
    .option("--with-keys", "include the encryption keys of the data folder")
    .action(async (file: string, { withKeys = false }: { withKeys?: boolean }) => {
      const config = embeddedConfig('pg_dump --format=custom --file=kyc.dump "$DATABASE_URL"');
      const { dataDir } = config;
      if (!hasDatabase(dataDir)) throw new CommandFailure(`there is no database in ${dataDir}`);
      await withOpenDatabase(config, ({ db }) =>
        backUp(db, dataDir, file, { withKeys, onWarning: say, onCopied: recordBackup }),
      );
      const hasKeys = withKeys && existsSync(join(dataDir, KEYS));
      say(`${file} holds the database, ${hasKeys ? "and the keys of the data folder" : "without any key"}.`);
      if (!hasKeys) {
        say(`Keep the encryption keys apart from it (${join(dataDir, KEYS)}, or those of the environment):`);
        say("whoever has both can read the document numbers, and without the keys nobody can.");
      }
    });
  const restoreCommand = new Command("restore")
    .description("restore the embedded database from a backup; there must be none yet")
    .argument("<file>", "the file that `backup` wrote")
    .action(async (file: string) => {
      const config = embeddedConfig('pg_restore --no-owner --dbname="$DATABASE_URL" kyc.dump');
      await restore(config.dataDir, file);
      say(`The database is in ${config.dataDir}.`);
    });
  return [backup, restoreCommand];
}
