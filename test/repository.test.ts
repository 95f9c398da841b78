import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

test("the lock file names no registry", () => {
  expect(readFileSync("package-lock.json", "utf8")).not.toMatch(/"resolved":\s*"https?:/);
});

test("every variable of the README's table is in .env.example, and the other way round", () => {
  const table = [...readFileSync("README.md", "utf8").matchAll(/^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|/gm)];
  const documented = table.flatMap(([, names]) => [...(names ?? "").matchAll(/[A-Z_]+/g)].map(String));
  const example = [...readFileSync(".env.example", "utf8").matchAll(/^([A-Z_]+)=/gm)].map(([, name]) => name);
  expect(documented.length).toBeGreaterThan(5);
  expect(example.sort()).toEqual(documented.sort());
});

test("every test that SECURITY.md names is there", () => {
  const names = readFileSync("SECURITY.md", "utf8").match(/test\/[\w/.-]+\.ts/g) ?? [];
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter((name) => !existsSync(name))).toEqual([]);
});
