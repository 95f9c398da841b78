import { existsSync } from "node:fs";
import { resolve } from "node:path";
import Table from "cli-table3";
import { type Config, parseConfig } from "../config.ts";
import { findConfigHints } from "../config-hints.ts";
import type { Database } from "../db/client.ts";
import { openDataDir } from "../db/embedded/data-dir.ts";
import { hasDatabase } from "../db/embedded/embedded.ts";
import { migrate } from "../db/migrating/migrate.ts";
import { lastApplied } from "../db/migrating/pending.ts";
import { borrowDatabase, type OpenDatabase } from "../db/open.ts";
import { describeAddress, readServerAddress } from "../db/pool/server-address.ts";

/** A command could not do what it was asked to; its message is all that there is to say. */
export class CommandFailure extends Error {}

/** Words are for people, on stderr. */
export const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};
/** Results are for programs too, on stdout. Whether they get there, `printed` says. */
export const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** Nobody reads stdout any more, or it can't be written. */
export class OutputError extends Error {
  /** Whether its reader has left, as `head` does when it has seen enough. */
  readonly isUnread: boolean;

  constructor(cause: NodeJS.ErrnoException) {
    super(`stdout can't be written: ${cause.message}`, { cause });
    this.isUnread = cause.code === "EPIPE";
  }
}

/** Resolves when the operating system has taken everything that was printed; fails with an OutputError if it has not. */
export function printed(): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write("", (error) => {
      const fault = process.stdout.errored ?? error;
      if (fault) reject(new OutputError(fault));
      else resolve();
    });
  });
}

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

/** What is in a table: on a terminal a list has a line for each of its words, and of a time there is the day. */
type Cell = string | readonly string[] | Date;

export const isOnTerminal = (): boolean => process.stdout.isTTY;

/** The day of a time, for people. */
export const toDay = (time: Date): string => time.toISOString().slice(0, 10);

/**
 * With borders on a terminal; elsewhere a line for each row and a tab between columns, as cut and awk read them.
 * `widths` are those of columns on a terminal that must not grow with what is in them.
 */
export function printTable(
  head: readonly string[],
  rows: readonly Cell[][],
  widths: (number | null)[] = [],
): void {
  if (!isOnTerminal()) {
    const text = (cell: Cell) => (cell instanceof Date ? cell.toISOString() : [cell].flat().join(" "));
    for (const row of [head, ...rows]) print(row.map(text).join("\t"));
    return;
  }
  const table = new Table({
    head: head.map((title) => title.replaceAll(" ", "\n")),
    colWidths: widths,
    wordWrap: true,
    wrapOnWordBoundary: false,
    style: { head: [], border: [] },
  });
  const text = (cell: Cell) => (cell instanceof Date ? toDay(cell) : [cell].flat().join("\n"));
  table.push(...rows.map((row) => row.map(text)));
  print(table.toString());
}
