import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { openFilesLimit, roomForConnections } from "../../../src/server/load/open-files.ts";

const config = { maxConnections: 10_000, databaseUrl: "postgres://h/d", databasePoolSize: 10 };

test("the limit of open files is the one of the process", () => {
  // Node raises the soft limit to the hard one when it starts.
  const limit = execFileSync("bash", ["-c", "ulimit -Hn"], { encoding: "utf8" }).trim();
  expect(openFilesLimit()).toBe(limit === "unlimited" ? Number.POSITIVE_INFINITY : Number(limit));
});

test.each([
  ["MAX_CONNECTIONS, if there is room for them", config, 1_000_000, 10_000],
  ["MAX_CONNECTIONS, if there is no limit", config, Number.POSITIVE_INFINITY, 10_000],
  ["what the limit leaves besides a reserve", config, 1024, 812],
  ["fewer beside the embedded database", { ...config, databaseUrl: undefined }, 1024, 556],
  ["fewer beside a large pool", { ...config, databasePoolSize: 100 }, 1024, 632],
  ["MAX_CONNECTIONS, if it is lower than that", { ...config, maxConnections: 100 }, 1024, 100],
  ["a few at least", config, 64, 16],
])("there may be as many connections as %s", (_, settings, limit, expected) => {
  expect(roomForConnections(settings, limit)).toBe(expected);
});
