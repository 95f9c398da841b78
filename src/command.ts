import { resolve } from "node:path";
import Table from "cli-table3";
import { type Config, parseConfig } from "./config.ts";
import type { Database } from "./db/client.ts";
import { hasDatabase } from "./db/embedded.ts";
import { migrate } from "./db/migrate.ts";
import { borrowDatabase, type OpenDatabase } from "./db/open.ts";

/** A command could not do what it was asked to; its message is all that there is to say. */
export class CommandFailure extends Error {}

/** Words are for people, on stderr. */
export const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};
/** Results are for programs too, on stdout. */
export const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

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
  const config = parseConfig(process.env);
  check(config);
  return withOpenDatabase(config, async ({ db, address, isGuest }) => {
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

/** Fails where there is no database yet: what looks at one, or changes what is in it, must not make another. */
export function requireDatabase({ databaseUrl, dataDir }: Config): void {
  if (databaseUrl !== undefined || hasDatabase(dataDir)) return;
  throw new CommandFailure(
    `there is no database in ${resolve(dataDir)}. Give this command the gateway's DATABASE_URL or DATA_DIR`,
  );
}

/** Says which database it is that the command adds to: in a shell of its own it can be another one than the gateway's. */
export function nameDatabase({ databaseUrl, dataDir }: Config): void {
  if (databaseUrl !== undefined) {
    // The rest of the URL opens it.
    const { host, pathname } = new URL(databaseUrl);
    say(`The database is at ${host}${pathname}.`);
  } else if (hasDatabase(dataDir)) say(`The database is the one in ${resolve(dataDir)}.`);
  else say(`There is no database in ${resolve(dataDir)} yet: making one.`);
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
