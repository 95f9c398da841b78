import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

test("the lock file names no registry", () => {
  expect(readFileSync("package-lock.json", "utf8")).not.toMatch(/"resolved":\s*"https?:/);
});

test("every test that SECURITY.md names is there", () => {
  const names = readFileSync("SECURITY.md", "utf8").match(/test\/[\w/.-]+\.ts/g) ?? [];
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter((name) => !existsSync(name))).toEqual([]);
});
