import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { AppError, lateAnswer, overloaded } from "../src/errors.ts";

const rows = readFileSync("docs/architecture.md", "utf8")
  .split("## Causes of a 503")[1]
  ?.split("\n## ")[0]
  ?.split("\n")
  .filter((line) => line.startsWith("| ") && line.includes("`"))
  .map((line) => line.split("|").map((cell) => cell.trim())) as string[][];
const inTable = (column: number) => new Set(rows.map((cells) => cells[column] ?? ""));

const sources = execFileSync("git", ["ls-files", "src"], { encoding: "utf8" })
  .trim()
  .split("\n")
  .filter((file) => file.endsWith(".ts") && file !== "src/errors.ts");
const textOf = (file: string) => readFileSync(file, "utf8");

test("the table of causes of a 503 has every file that decides one, and no other", () => {
  const deciding = sources.filter((file) => /\b(unavailable|overloaded|lateAnswer)\(/.test(textOf(file)));
  const named = [...inTable(2)].map((cell) => `src/${cell.replaceAll("`", "")}`);
  expect(named.sort()).toEqual(deciding.sort());
});

test("it has every message of theirs, and no other", () => {
  const own = sources.flatMap((file) =>
    [...textOf(file).matchAll(/\bunavailable\(new Error\("([^"]+)"\)\)/g)].map(([, message]) => message),
  );
  const late = lateAnswer().cause as Error;
  const expected = new Set([...own, late.message, overloaded().message]);
  expect(overloaded()).toBeInstanceOf(AppError);
  const others = /^(the (driver|fetch|database)'s own|the missing key's id|none: .*)$/;
  expect([...inTable(4)].filter((message) => !others.test(message)).sort()).toEqual([...expected].sort());
});
