import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { MORE_PRIVILEGES } from "../../src/cli/doctor/check-rights.ts";
import { TABLE_NAMES } from "../../src/db/table-names.ts";

/** What commands alone do: a role that only serves needs no privilege for it. */
const OF_COMMANDS = ["UPDATE imports", "UPDATE secrets"];

test("doctor asks for the privilege of each statement of the source that changes or deletes rows", () => {
  const done = new Set<string>();
  for (const file of readdirSync("src", { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ts")) continue;
    for (const [, verb = "", table = ""] of readFileSync(`src/${file}`, "utf8").matchAll(
      /\b(update|delete from) (\w+)/g,
    ))
      if (TABLE_NAMES.includes(table)) done.add(`${verb.split(" ")[0]?.toUpperCase()} ${table}`);
  }
  expect(done.size).toBeGreaterThan(10);
  const asked = Object.entries(MORE_PRIVILEGES).flatMap(([table, verbs]) =>
    verbs.map((verb) => `${verb} ${table}`),
  );
  expect([...done].filter((one) => !asked.includes(one)).sort()).toEqual(OF_COMMANDS);
});
