import { expect, test } from "vitest";
import { findConfigHints } from "../../src/config/hints.ts";

test.each([
  ["PROT", "PORT"],
  ["HSOT", "HOST"],
  ["port", "PORT"],
  ["data-dir", "DATA_DIR"],
  ["DATABASE_URI", "DATABASE_URL"],
  ["DATABSE_URL", "DATABASE_URL"],
  ["DATABASE_URLS", "DATABASE_URL"],
  ["CORS_ORIGIN", "CORS_ORIGINS"],
  ["TRUSTED_PROXY", undefined],
  ["RATE_LMIIT", "RATE_LIMIT"],
])("a variable %s is reported as a misspelling of %s", (name, meant) => {
  expect(findConfigHints({ [name]: "secret" })).toEqual(
    meant ? [`${name} is not a setting of the gateway. Is ${meant} meant?`] : [],
  );
});

test("variables of other programs are not reported", () => {
  const names =
    "PATH HOME HOSTNAME USER LANG PWD SHELL TERM POST COST PORTS DOC NODE_ENV npm_config_port PGHOST _";
  expect(findConfigHints(Object.fromEntries(names.split(" ").map((name) => [name, "x"])))).toEqual([]);
  expect(findConfigHints({ PROT: "", PORT: "1" })).toEqual([]);
});

test.each([
  [{ MAX_CONNECTIONS: "10", MAX_CONCURRENT_REQUESTS: "11" }, "MAX_CONCURRENT_REQUESTS has no effect above"],
  [{ JWT_SCOPE_MAP: "a=kyc:read" }, "JWT_SCOPE_MAP has no effect without JWT_ISSUER"],
  [{ PERSISTED_OPERATIONS: "x", PERSISTED_OPERATIONS_MODE: "off" }, "PERSISTED_OPERATIONS has no effect if"],
  [{ GRAPHIQL: "true", PERSISTED_OPERATIONS_MODE: "only" }, "GRAPHIQL has no effect if"],
  [{ DATABASE_POOL_SIZE: "5" }, "DATABASE_POOL_SIZE has no effect with the embedded database"],
])("settings that conflict are reported: %j", (env, words) => {
  expect(findConfigHints(env as Record<string, string>)).toEqual([expect.stringContaining(words)]);
});
