import Table from "cli-table3";
import { type Config, parseConfig } from "./config.ts";
import type { Database } from "./db/client.ts";
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

/** Does `work` on the configured database, migrated, and closes it whatever happens. */
export async function withDatabase<T>(
  work: (scene: CommandScene) => Promise<T>,
  require: (config: Config) => void = () => {},
): Promise<T> {
  const config = parseConfig(process.env);
  require(config);
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

/** With borders on a terminal; elsewhere a line for each row and a tab between columns, as cut and awk read them. */
export function printTable(head: readonly string[], rows: readonly string[][]): void {
  if (!process.stdout.isTTY) {
    for (const row of [head, ...rows]) print(row.join("\t"));
    return;
  }
  const table = new Table({ head: [...head], style: { head: [], border: [] } });
  table.push(...rows);
  print(table.toString());
}
