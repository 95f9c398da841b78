import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Config, parseConfig } from "../config/config.ts";
import { findConfigHints } from "../config/hints.ts";
import type { Database } from "../db/client.ts";
import { openDataDir } from "../db/embedded/data-dir.ts";
import { hasDatabase } from "../db/embedded/embedded.ts";
import { migrate } from "../db/migrating/migrate.ts";
import { lastApplied } from "../db/migrating/pending.ts";
import { borrowDatabase, type OpenDatabase } from "../db/open.ts";
import { describeAddress, readServerAddress } from "../db/pool/server-address.ts";
import { say } from "./print.ts";

/** A command could not do what it was asked to; its message is all that there is to say. */
export class CommandFailure extends Error {}

/** The configuration in the environment. Afterwards what looks like a mistake in it has been said. */
export function readConfig(): Config {
  for (const hint of findConfigHints(process.env)) say(`configuration: ${hint}`);
  return parseConfig(process.env);
}

/** What a command works on. */
export interface CommandScene {
  db: Database;
  config: Config;
  /** Whether another process has the embedded database open, and this one joined it. */
  isGuest: boolean;
}

/**
 * Does `work` on the configured database, migrated, and closes it whatever happens. `check` comes before anything is
 * opened or made.
 */
export async function withDatabase<T>(
  work: (scene: CommandScene) => Promise<T>,
  check: (config: Config) => void = () => {},
): Promise<T> {
  const config = readConfig();
  check(config);
  return withOpenDatabase(config, async ({ db, address, isGuest }) => {
    await migrate(address);
    return work({ db, config, isGuest });
  });
}

/**
 * As `withDatabase`, where a gateway has been before. Fails where none has: what looks at a database, or changes what is
 * in it, must not make another.
 */
export async function withKnownDatabase<T>(
  work: (scene: CommandScene) => Promise<T>,
  check: (config: Config) => void = () => {},
): Promise<T> {
  const config = readConfig();
  check(config);
  const failure = new CommandFailure(
    `there is no database of a gateway ${placeOf(config)}. Give this command the gateway's DATABASE_URL or DATA_DIR`,
  );
  if (config.databaseUrl === undefined && !hasDatabase(config.dataDir)) {
    // A folder of another user looks empty: that is the fault then.
    if (existsSync(config.dataDir)) openDataDir(config.dataDir);
    throw failure;
  }
  return withOpenDatabase(config, async ({ db, address, isGuest }) => {
    if ((await lastApplied(db)) === 0) throw failure;
    await migrate(address);
    return work({ db, config, isGuest });
  });
}

/** Does `work` on the database as it is, and closes it whatever happens. */
export async function withOpenDatabase<T>(
  config: Config,
  work: (database: OpenDatabase) => Promise<T>,
): Promise<T> {
  const database = await borrowDatabase(config, say);
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

/** Where the database is, without what opens it. */
function placeOf({ databaseUrl, dataDir }: Config): string {
  if (databaseUrl === undefined) return `in ${resolve(dataDir)}`;
  return `at ${describeAddress(readServerAddress(databaseUrl, process.env))}`;
}

/**
 * Says which database it is that the command adds to: in a shell of its own it can be another one than the gateway's.
 * Fails with a DataDirError if there can't be one.
 */
export function nameDatabase(config: Config): void {
  const isThere = config.databaseUrl !== undefined || hasDatabase(config.dataDir);
  // One that can't be made fails before it is named.
  if (!isThere) openDataDir(config.dataDir);
  say(
    isThere
      ? `The database is ${placeOf(config)}.`
      : `There is no database ${placeOf(config)} yet: making one.`,
  );
}
