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

test("a table has borders on a terminal", async () => {
  const run = startOnTerminal("token list", env);
  await run.exited;
  expect(run.stdout()).toMatch(/│ id +│ account │ name +│/);
  expect(run.stdout()).toMatch(/│ acme +│ the shop │ kyc:read │ good +│/);
});

test("elsewhere it has a line for each row and a tab between columns", async () => {
  const { stdout } = await runCli(["token", "list"], env);
  const [head, row, ...rest] = stdout.split("\n").map((line) => line.split("\t"));
  expect(head).toEqual(["id", "account", "name", "scopes", "state", "created", "expires"]);
  expect(row).toEqual([
    ...[expect.stringMatching(/^tok_/), "acme", "the shop", "kyc:read", "good"],
    ...[expect.stringMatching(/^\d{4}-.*Z$/), "never"],
  ]);
  expect(rest).toEqual([[""]]);
});

test("the log is readable text on a terminal", async () => {
  const run = startOnTerminal("serve", { ...env, PORT: "0" });
  const [, url] = await run.printed(/ (http:\/\/\S+)\/health/);
  await fetch(`${url}/v1/kyc`);
  await run.printed(/INFO.*answered[\s\S]*status.*401/);
  expect(run.stdout()).not.toContain('{"level"');
  await run.stop();
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

test("bash completes commands and options", async () => {
  const suggest = async (...words: string[]) => (await runCli(["complete", "--", ...words])).stdout;
  expect(await suggest("to")).toMatch(/^token\t/m);
  expect(await suggest("token", "cr")).toMatch(/^create\t/m);
  expect(await suggest("token", "create", "--ac")).toMatch(/^--account\t/m);
  const script = await runCli(["completion", "bash"]);
  expect(script).toMatchObject({ code: 0, stderr: "" });
  const check = start("bash", ["-nc", script.stdout]);
  expect(await check.exited).toMatchObject({ code: 0 });
});
