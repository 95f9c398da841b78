import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { FAULTS, type LegacyRecord, type LegacyServer, startLegacyServer } from "../support/legacy-list.ts";
import { createClient } from "./support/client.ts";
import {
  CLI,
  freshEnv,
  fullToken,
  runCli,
  start,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";
import { dump, openSql } from "./support/sql.ts";

let legacy: LegacyServer | undefined;
afterEach(async () => {
  await legacy?.close();
  await tidyUp();
});

const CANARY = "CANARY-4712";
const TOKEN = "legacy-token-9f8e7d";
const idOf = (n: number) => `Legacy${String(n).padStart(10, "0")}`;
const isBad = (n: number) => n % 250 === 249;
const record = (n: number): LegacyRecord => ({
  id: idOf(n),
  customer_id: `cus_${n % 700}`,
  verification_status: isBad(n) ? CANARY : "verified",
  document_type: "passport",
  document_number: `${CANARY}-${n}`,
  created_at: 1_704_103_200,
  updated_at: 1_704_103_200,
});
const many = (count: number) => Array.from({ length: count }, (_, n) => record(n));

test("an import from a failing server with a changing list, killed again and again, has each lasting record once", async () => {
  const folder = await temporaryFolder();
  const env = await freshEnv("a real database");
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, `${TOKEN}\n`);
  await chmod(tokenFile, 0o644);
  const slow = ["no answer", "single bytes", "429 with a date"];
  const passing = Object.entries(FAULTS).flatMap(([name, fault]) => (slow.includes(name) ? [] : [fault]));
  const count = 1_500;
  legacy = await startLegacyServer(many(count), {
    faults: Array.from({ length: 200 }, (_, n) =>
      n % 8 === 7 ? passing[n % passing.length] : undefined,
    ).map((fault) => fault ?? (() => false)),
    onRequest: (server, request) => {
      if (request % 5 === 0) server.records.unshift(record(10_000 + request));
      // Of every ten records, the last may be deleted.
      if (request % 3 === 0)
        server.records = server.records.filter(
          ({ id }) => Number(id.slice(6)) % 300 !== (10 * request - 1) % 300,
        );
    },
  });
  const args = ["import", `--from=${legacy.url}`, `--token-file=${tokenFile}`, "--account=acme"];
  let output = "";
  for (let kills = 0; kills < 2; kills++) {
    const run = start(process.execPath, [CLI, ...args], { env, cwd: folder });
    await expect.poll(() => run.stderr(), { timeout: 30_000 }).toMatch(/The database is/);
    await wait(300 + Math.random() * 900);
    await run.stop("SIGKILL");
    output += run.output();
  }
  const last = start(process.execPath, [CLI, ...args, "--json"], { env, cwd: folder });
  const { code } = await last.exited;
  output += last.output();
  const lasting = legacy.records.map(({ id }) => Number(id.slice(6)));
  expect(code, last.output()).toBe(1);
  expect(JSON.parse(last.stdout())).toMatchObject({ dryRun: false, faultFile: "127.0.0.1.faults" });

  const sql = openSql(env);
  const stored = new Set((await sql`select id from kycs where account_id = 'acme'`).map(({ id }) => id));
  const lost = lasting.filter((n) => n < 10_000 && !isBad(n) && !stored.has(idOf(n)));
  expect(lost).toEqual([]);
  const events = await sql`
    select 1 from audit_events where account_id = 'acme' and other_action is null`;
  expect(events).toHaveLength(stored.size);
  const report = (await readFile(join(folder, "127.0.0.1.faults"), "utf8")).trimEnd().split("\n");
  const named = report.map((line) => JSON.parse(line));
  expect(new Set(named.map(({ id }) => id)).size).toBe(named.length);
  expect(named.map(({ id }) => id)).toEqual(
    expect.arrayContaining(lasting.filter((n) => n < 10_000 && isBad(n)).map(idOf)),
  );
  expect(named[0]).toMatchObject({ faults: [{ field: "verificationStatus" }] });

  const again = await runCli([...args, "--dry-run", `--faults=${join(folder, "dry-run")}`], env);
  output += again.stdout + again.stderr;
  // The list has a few records more by now.
  expect(again.stdout).toMatch(/^To import: \d{1,2}, already there: \d{4}, bad: \d+\n$/);
  expect((await stat(tokenFile)).mode & 0o077).toBe(0);
  for (const text of [output, report.join(), await dump(sql)]) {
    expect(text).not.toContain(CANARY);
    expect(text).not.toContain(TOKEN);
  }
});

test("the records of one of our gateways are imported from its list", async () => {
  const env = await freshEnv("a real database");
  const gateway = await startGateway(env);
  const token = await fullToken(env, "acme");
  const client = createClient(gateway.url, token);
  const folder = await temporaryFolder();
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, token);
  const lines = Array.from({ length: 230 }, (_, n) =>
    JSON.stringify({ ...record(n), verification_status: "pending" }),
  );
  await writeFile(join(folder, "records.ndjson"), lines.join("\n"));
  await runCli(["import", join(folder, "records.ndjson"), "--account=acme"], env);
  const run = await runCli(
    ["import", `--from=${gateway.url}/v1/kyc`, `--token-file=${tokenFile}`, "--account=copy", "--json"],
    env,
  );
  expect(run, run.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(run.stdout)).toMatchObject({ imported: 230, unchanged: 0, bad: 0 });
  const { json } = await client.graphql("{ kycs { totalCount } }");
  expect(json).toMatchObject({ data: { kycs: { totalCount: 230 } } });
});

test.each([
  [["--from=http://192.0.2.1/v1/kyc", "--token-file=x"], "the token would be sent in clear"],
  [["--from=https://u:p@example.com/v1/kyc", "--token-file=x"], "must not have a user name"],
  [["--from=https://example.com/v1/kyc"], "--from and --token-file need each other"],
  [["file.csv", "--from=https://example.com/v1/kyc", "--token-file=x"], "give either a file, or --from"],
  [[], "give either a file, or --from"],
])("arguments that do not fit together are refused: %j", async (args, message) => {
  const run = await runCli(["import", "--account=acme", ...args], {});
  expect(run).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(message) });
});
