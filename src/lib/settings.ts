import type { z } from "zod";

/** One variable of the environment, and how its text becomes a value. */
interface Setting<T> {
  variable: string;
  value: z.ZodType<T>;
}

/** The settings of one module, by the names that the code uses. A nested table is a group of settings. */
interface SettingTable {
  readonly [name: string]: Setting<unknown> | SettingTable;
}

/** The values of a table's settings. */
export type ValuesOf<Table> = {
  -readonly [Name in keyof Table]: Table[Name] extends Setting<infer T> ? T : ValuesOf<Table[Name]>;
};

/** The configuration has faults: one line for each, without the values, which can be secret. */
export class ConfigError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join("\n"));
    this.name = "ConfigError";
    this.faults = faults;
  }
}

/** Declares a setting. A variable that is not set is given to `value` as undefined. */
export function setting<T>(variable: string, value: z.ZodType<T>): Setting<T> {
  return { variable, value };
}

const isSetting = (entry: Setting<unknown> | SettingTable): entry is Setting<unknown> =>
  typeof entry.variable === "string";

/** The variables of all settings of a table. */
export function variablesOf(table: SettingTable): string[] {
  return Object.values(table).flatMap((entry) => (isSetting(entry) ? [entry.variable] : variablesOf(entry)));
}

/** The values of these variables, or a line for each invalid one. */
export function readSettings<Table extends SettingTable>(
  table: Table,
  env: Record<string, string | undefined>,
): { values: ValuesOf<Table> | undefined; faults: string[] } {
  const faults: string[] = [];
  const read = (part: SettingTable): object =>
    Object.fromEntries(Object.entries(part).map(([name, entry]) => [name, readEntry(entry)]));
  const readEntry = (entry: Setting<unknown> | SettingTable) => {
    if (!isSetting(entry)) return read(entry);
    const { data, error } = entry.value.safeParse(env[entry.variable]);
    for (const { message } of error?.issues ?? []) faults.push(`${entry.variable} ${message}`);
    return data;
  };
  const values = read(table) as ValuesOf<Table>;
  return { values: faults.length === 0 ? values : undefined, faults };
}
