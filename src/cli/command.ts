import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Administrator, byCommand } from "../administration/record-act.ts";
import { type Config, parseConfig } from "../config/config.ts";
import { findConfigHints } from "../config/hints.ts";
import type { Database } from "../db/client.ts";
import { isLostConnection } from "../db/database-error.ts";
import { openDataDir } from "../db/embedded/data-dir.ts";
import { hasDatabase } from "../db/embedded/embedded.ts";
import { migrate } from "../db/migrating/migrate.ts";
import { lastApplied } from "../db/migrating/pending.ts";
import { borrowDatabase } from "../db/open.ts";
import type { OpenDatabase } from "../db/open-server.ts";
import { describeAddress, readServerAddress } from "../db/pool/server-address.ts";
import { say } from "./print.ts";

/** A command failed. The message says everything that the user needs. */
export class CommandFailure extends Error {}

/** Reads the configuration from the environment, and prints hints about likely mistakes. */
export function readConfig(): Config {
  for (const hint of findConfigHints(process.env)) say(`configuration: ${hint}`);
  return parseConfig(process.env);
}

/** The open database of a command. */
export interface CommandScene {
  db: Database;
  config: Config;
  /** Whether another process has the embedded database open, and this one joined it. */
  isGuest: boolean;
  /** This run of the command, for the trail. */
  by: Administrator;
}

/**
 * Does `work` on the configured, migrated database, and closes it in any case. `check` runs before anything is opened or
 * created.
 */
export async function withDatabase<T>(
  work: (scene: CommandScene) => Promise<T>,
  check: (config: Config) => void = () => {},
): Promise<T> {
  const config = readConfig();
  check(config);
  return withOpenDatabase(config, async ({ db, target, isGuest }) => {
    await migrate(target);
    return work({ db, config, isGuest, by: byCommand() });
  });
}

/**
 * As `withDatabase`, but fails if the gateway has not used the database before: a command that reads or changes existing
 * data must not create a database.
 */
export async function withKnownDatabase<T>(
  work: (scene: CommandScene) => Promise<T>,
  check: (config: Config) => void = () => {},
): Promise<T> {
  const config = readConfig();
  check(config);
  const failure = new CommandFailure(
    `there is no database of a gateway ${locationOf(config)}. Give this command the gateway's DATABASE_URL or DATA_DIR`,
  );
  if (config.databaseUrl === undefined && !hasDatabase(config.dataDir)) {
    // A folder of another user looks empty. Report that instead.
    if (existsSync(config.dataDir)) openDataDir(config.dataDir);
    throw failure;
  }
  return withOpenDatabase(config, async ({ db, target, isGuest }) => {
    if ((await lastApplied(db)) === 0) throw failure;
    await migrate(target);
    return work({ db, config, isGuest, by: byCommand() });
  });
}

const HOST_ENDED =
  "the process that had the embedded database open, which this command had joined, has ended. What the command did last " +
  "may have taken effect or not: run it again";

/** Does `work` on the database without migrating it, and closes it in any case. */
export async function withOpenDatabase<T>(
  config: Config,
  work: (database: OpenDatabase) => Promise<T>,
): Promise<T> {
  const database = await borrowDatabase(config, say);
  try {
    return await work(database);
  } catch (error) {
    throw database.isGuest && isLostConnection(error) ? new CommandFailure(HOST_ENDED) : error;
  } finally {
    await database.close();
  }
}

/** The location of the database, without credentials. */
function locationOf({ databaseUrl, dataDir }: Config): string {
  if (databaseUrl === undefined) return `in ${resolve(dataDir)}`;
  return `at ${describeAddress(readServerAddress(databaseUrl, process.env))}`;
}

/**
 * Prints which database the command will add to, because it can differ from the gateway's if the shell's environment does.
 * Fails with a DataDirError if the data folder can't be used.
 */
export function nameDatabase(config: Config): void {
  const exists = config.databaseUrl !== undefined || hasDatabase(config.dataDir);
  // If the folder can't be created, fail before printing its name.
  if (!exists) openDataDir(config.dataDir);
  say(
    exists
      ? `The database is ${locationOf(config)}.`
      : `There is no database ${locationOf(config)} yet: making one.`,
  );
}
