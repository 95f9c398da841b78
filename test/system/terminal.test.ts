import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Env, freshEnv, ROOT, type Run, runCli, start, tidyUp } from "./support/gateway.ts";

/** Runs a command of the CLI on a terminal: `script` makes one. */
function startOnTerminal(args: string, env: Env): Run {
  const command = `exec ${process.execPath} ${join(ROOT, "dist/cli.js")} ${args}`;
  return start("script", ["-qec", command, "/dev/null"], { env: { TERM: "xterm", ...env } });
}

let env: Env;
beforeAll(async () => {
  env = await freshEnv("a real database");
  await runCli(["token", "create", "--account=acme", "--name=the shop", "--scopes=kyc:read"], env);
});
afterAll(tidyUp);

test("a table has borders on a terminal, and room in 80 columns", async () => {
  const long = ["--account", "a".repeat(40), "--name", "the other shop with a name that is long"];
  const scopes = "--scopes=kyc:read,kyc:write,kyc:delete,kyc:pii,audit:read";
  await runCli(["token", "create", ...long, scopes, "--expires=1000d"], env);
  const run = startOnTerminal("token list", env);
  await run.exited;
  const lines = run.stdout().trimEnd().split("\r\n");
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
  const today = new Date().toISOString().slice(0, 10);
  expect(run.stdout()).toMatch(/│ token +│ account +│ scopes +│ state +│ created +│/);
  expect(run.stdout()).toMatch(
    new RegExp(`│ tok_\\w{16} │ acme +│ kyc:read +│ good +│ ${today} │\r\n│ the shop +│`),
  );
  expect(run.stdout()).toMatch(/│ kyc:read +│ good until │/);
  expect(run.stdout()).toMatch(/│ kyc:write +│ \d{4}-\d\d-\d\d │/);
  expect(lines.join("").match(/a{14}/g)).toHaveLength(2);
});

test("elsewhere it has a line for each row and a tab between columns", async () => {
  const { stdout } = await runCli(["token", "list", "--account=acme"], env);
  const [head, row, ...rest] = stdout.split("\n").map((line) => line.split("\t"));
  expect(head).toEqual(["id", "account", "name", "scopes", "state", "created", "expires"]);
  expect(row).toEqual([
    ...[expect.stringMatching(/^tok_/), "acme", "the shop", "kyc:read", "good"],
    ...[expect.stringMatching(/^\d{4}-.*Z$/), "never"],
  ]);
  expect(rest).toEqual([[""]]);
});

test.each([
  ["in colours", {}],
  ["in none where they are not wanted", { NO_COLOR: "1" }],
])("the log has a readable line for each request on a terminal, %s", async (_, wish: Env) => {
  const run = startOnTerminal("serve", { ...env, ...wish, PORT: "0" });
  const [, url] = await run.printed(/ (http:\/\/\S+)\/health/);
  await fetch(`${url}/v1/kyc`);
  await fetch(`${url}/graphql?query={kycs{totalCount}}`);
  await run.printed(/graphql.*req_\S+/);
  await run.stop();
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what a colour is
  const colours = /\x1b\[\d+m/g;
  const lines = run.stdout().replace(colours, "").split("\r\n");
  expect(lines).toContainEqual(
    expect.stringMatching(/^\d\d:\d\d:\d\d INFO: GET \/v1\/kyc UNAUTHENTICATED 401 \d+ ms req_[\w-]+ *$/),
  );
  expect(lines).toContainEqual(
    expect.stringMatching(/^\S+ INFO: GET \/graphql kycs UNAUTHENTICATED 200 \d+ ms req_[\w-]+ *$/),
  );
  expect(run.stdout()).not.toContain('{"level"');
  expect(colours.test(run.stdout())).toBe(wish.NO_COLOR === undefined);
});

test.each([
  [["toke"], "token"],
  [["token", "lst"], "list"],
  [["token", "list", "--jsno"], "--json"],
])("%j is answered with what was meant", async (args, meant) => {
  const { code, stderr } = await runCli(args, env);
  expect(code).toBe(2);
  expect(stderr).toContain(`Did you mean ${meant}?`);
});

test("bash completes commands, options and scopes", async () => {
  const suggest = async (...words: string[]) => (await runCli(["complete", "--", ...words])).stdout;
  expect(await suggest("to")).toMatch(/^token\t/m);
  expect(await suggest("token", "cr")).toMatch(/^create\t/m);
  expect(await suggest("token", "create", "--ac")).toMatch(/^--account\t/m);
  expect(await suggest("token", "create", "--scopes", "")).toMatch(/^kyc:read\t.*\n(.*\n)*audit:read\t/m);
  expect(await suggest("token", "create", "--scopes", "kyc:read,kyc:w")).toMatch(
    /^kyc:read,kyc:write\t\n:4$/m,
  );
  const script = await runCli(["completion", "bash"]);
  expect(script).toMatchObject({ code: 0, stderr: "" });
  const check = start("bash", ["-nc", script.stdout]);
  expect(await check.exited).toMatchObject({ code: 0 });
});
