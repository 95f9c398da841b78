import { readFile, writeFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { createClient } from "./support/client.ts";
import {
  CLI,
  type Env,
  freshEnv,
  fullToken,
  runCli,
  start,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";
import { dump, openSql } from "./support/sql.ts";

afterEach(tidyUp);

const HEADER = "id,customer_id,verification_status,document_type,document_number,created_at,updated_at";
const CANARY = "CANARY-4711";
const idOf = (n: number) => `Imported${String(n).padStart(8, "0")}`;
const isBad = (n: number) => n % 250 === 249;
const row = (n: number) =>
  `${idOf(n)},cus_${n % 700},${isBad(n) ? CANARY : "verified"},passport,${CANARY}-${n},1704103200,1704103200`;

test("an import that is killed again and again has each good line once, and names each bad one once", async () => {
  const folder = await temporaryFolder();
  const env = await freshEnv("a real database");
  const count = 4_000;
  const file = join(folder, "records.csv");
  await writeFile(file, [HEADER, ...Array.from({ length: count }, (_, n) => row(n))].join("\n"));
  const args = ["import", file, "--account=acme"];
  let output = "";
  for (let kills = 0; kills < 3; kills++) {
    const run = start(process.execPath, [CLI, ...args], { env, cwd: folder });
    await expect.poll(() => run.stderr(), { timeout: 30_000 }).toMatch(/The database is/);
    await wait(300 + Math.random() * 900);
    const { signal } = await run.stop("SIGKILL");
    output += run.output();
    if (signal === null) break;
  }
  const last = start(process.execPath, [CLI, ...args, "--json"], { env, cwd: folder });
  const { code } = await last.exited;
  output += last.output();
  const bad = Array.from({ length: count }, (_, n) => n).filter(isBad);
  expect(code, last.output()).toBe(1);
  expect(JSON.parse(last.stdout())).toMatchObject({ imported: count - bad.length, bad: bad.length });

  const report = await readFile(join(folder, "records.csv.faults"), "utf8");
  const lines = report.trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).line)).toEqual(bad.map((n) => n + 2));

  const sql = openSql(env);
  const good = Array.from({ length: count }, (_, n) => n).filter((n) => !isBad(n));
  const stored = await sql`select id from kycs where account_id = 'acme' order by id`;
  expect(stored.map(({ id }) => id)).toEqual(good.map(idOf));
  const events =
    await sql`select kyc_ids[1] as id from audit_events where account_id = 'acme' and other_action is null order by 1`;
  expect(events.map(({ id }) => id)).toEqual(good.map(idOf));
  for (const text of [output, report, await dump(sql)]) expect(text).not.toContain(CANARY);
});

test("an import into the embedded database, from a pipe, while the gateway serves it", async () => {
  const env = await freshEnv("the embedded database");
  const gateway = await startGateway(env);
  const client = createClient(gateway.url, await fullToken(env));
  const folder = await temporaryFolder();
  const lines = Array.from({ length: 400 }, (_, n) =>
    JSON.stringify({
      customerId: `c${n}`,
      verificationStatus: "PENDING",
      documentType: "VISA",
      documentNumber: `V${n}`,
    }),
  );
  await writeFile(join(folder, "records"), lines.join("\n"));
  const command = `'${process.execPath}' '${CLI}' import - --account=demo --json < records`;
  for (const expected of [
    { imported: 400, unchanged: 0 },
    { imported: 0, unchanged: 400 },
  ]) {
    const run = start("sh", ["-c", command], { env, cwd: folder });
    const { code } = await run.exited;
    expect(code, run.output()).toBe(0);
    expect(JSON.parse(run.stdout())).toEqual({
      ...expected,
      bad: 0,
      dryRun: false,
      wasFinished: false,
      faultFile: null,
    });
  }
  const { json } = await client.graphql("{ kycs { totalCount } }");
  expect(json).toMatchObject({ data: { kycs: { totalCount: 400 } } });
  const dry = await runCli(["import", join(folder, "records"), "--account=other", "--dry-run"], env);
  expect(dry.stdout).toBe("To import: 400, already there: 0, bad: 0\n");

  // A guest of a gateway that dies says so, and can be continued.
  const many = lines.flatMap((line) =>
    Array.from({ length: 10 }, (_, n) => line.replace(/"V(?=\d)/, `"${n}-`)),
  );
  await writeFile(join(folder, "many"), many.join("\n"));
  const left = start(process.execPath, [CLI, "import", "many", "--account=left"], { env, cwd: folder });
  const sql = openSql(env);
  const isBegun = async () => (await sql`select from kycs where account_id = 'left' limit 1`).length > 0;
  await expect.poll(isBegun, { timeout: 60_000, interval: 5 }).toBe(true);
  await gateway.stop("SIGKILL");
  await sql.end({ timeout: 2 });
  expect(await left.exited).toMatchObject({ code: 1 });
  expect(left.stderr()).toMatch(
    /\nerror: the process that had the embedded database open.*: run it again\n$/,
  );
  expect((await runCli(["import", join(folder, "many"), "--account=left"], env)).code).toBe(0);
  const exported = await runCli(["export", "--account=left"], env);
  expect(exported.stdout.trim().split("\n")).toHaveLength(many.length + 1);
});

test("a disk that is full under the report of bad lines ends the import, which can be continued", async () => {
  const env = await freshEnv("a real database");
  const folder = await temporaryFolder();
  const file = join(folder, "records.csv");
  await writeFile(file, [HEADER, ...Array.from({ length: 600 }, (_, n) => row(n))].join("\n"));
  const full = await runCli(["import", file, "--account=acme", "--faults=/dev/full"], env);
  expect(full).toMatchObject({
    code: 1,
    stdout: "",
    stderr: expect.stringContaining("the bad lines can't be kept in /dev/full: ENOSPC"),
  });
  const sql = openSql(env);
  expect(await sql`select 1 from kycs`).toHaveLength(0);
  const faults = join(folder, "faults");
  expect(await runCli(["import", file, "--account=acme", `--faults=${faults}`], env)).toMatchObject({
    code: 1,
    stdout: "Imported: 598, already there: 0, bad: 2\n",
  });
  expect(await sql`select 1 from kycs`).toHaveLength(598);
});

test("what the command exports is imported as equal records, and a reader that leaves ends it", async () => {
  const env = await freshEnv("a real database");
  const folder = await temporaryFolder();
  const lines = Array.from({ length: 600 }, (_, n) => row(n)).filter((_, n) => !isBad(n));
  await writeFile(join(folder, "records.csv"), [HEADER, ...lines].join("\n"));
  const run = async (command: string) => {
    const child = start("sh", ["-c", command.replaceAll("kyc-gateway", `'${process.execPath}' '${CLI}'`)], {
      ...{ env, cwd: folder },
    });
    const { code } = await child.exited;
    return { code, stdout: child.stdout(), stderr: child.stderr() };
  };
  expect(await run("kyc-gateway import records.csv --account=acme")).toMatchObject({ code: 0 });
  for (const format of ["csv", "ndjson"]) {
    const copying = `kyc-gateway export --account=acme --format=${format} > copy && kyc-gateway import copy --account=copy-${format}`;
    expect(await run(copying)).toMatchObject({
      ...{ code: 0, stdout: `Imported: ${lines.length}, already there: 0, bad: 0\n` },
    });
  }
  const [first, second] = await Promise.all(
    ["acme", "copy-csv"].map((account) =>
      run(`kyc-gateway export --account=${account} --status=Verified | head -n -1`),
    ),
  );
  expect(second?.stdout).toBe(first?.stdout);
  expect(first?.stdout.trimEnd().split("\n")).toHaveLength(lines.length);
  expect((await run("kyc-gateway export --account=acme --masked | head -n 1")).stdout).toContain("•");
  expect(await run("kyc-gateway export --account=acme --status=approved")).toMatchObject({
    ...{ code: 2, stdout: "", stderr: expect.stringContaining("It must be one of pending") },
  });
});

/** An export that is not read until the test reads it. */
const open = (url: string, token: string) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    get(`${url}/v1/export`, { agent: false, headers }, resolve).on("error", reject);
  });

/** The last line of what there is to read. */
async function lastLine(answer: IncomingMessage): Promise<string> {
  let text = "";
  answer.setEncoding("utf8").on("data", (part: string) => {
    text = (text + part).slice(-1000);
  });
  // An answer that is cut fails, and closes then.
  answer.on("error", () => {});
  await new Promise((resolve) => answer.once("close", resolve));
  return text.trimEnd().split("\n").at(-1) ?? "";
}

test("an export over HTTP waits for its reader, and is cut when its token is revoked or the gateway stops", async () => {
  const env: Env = { ...(await freshEnv("a real database")), MAX_EXPORTS: "10" };
  const folder = await temporaryFolder();
  // More than the buffers of a connection take.
  const count = 20_000;
  const lines = Array.from(
    { length: count },
    (_, n) => `${idOf(n)},${"😀".repeat(120)},verified,passport,${n},1704103200,`,
  );
  await writeFile(join(folder, "records.csv"), [HEADER, ...lines].join("\n"));
  expect((await runCli(["import", join(folder, "records.csv"), "--account=acme"], env)).code).toBe(0);
  const gateway = await startGateway(env);
  const token = await fullToken(env, "acme");
  const [kept, left] = [await open(gateway.url, token), await open(gateway.url, token)];
  const refused = await open(gateway.url, token);
  expect(refused.statusCode).toBe(429);
  refused.destroy();
  // Its places are no others'.
  const other = await open(gateway.url, await fullToken(env, "globex"));
  expect(other.statusCode).toBe(200);
  other.destroy();
  left.destroy();
  const statusOfAnother = async () => {
    const answer = await open(gateway.url, token);
    answer.destroy();
    return answer.statusCode;
  };
  await expect.poll(statusOfAnother).toBe(200);
  expect(JSON.parse(await lastLine(kept))).toMatchObject({ export: { count } });

  const tokens: { id: string; account: string }[] = JSON.parse(
    (await runCli(["token", "list", "--json"], env)).stdout,
  );
  const cut = await open(gateway.url, token);
  await runCli(["token", "revoke", tokens.find(({ account }) => account === "acme")?.id ?? ""], env);
  await wait(1000);
  expect(await lastLine(cut)).not.toContain('"export"');

  const last = await open(gateway.url, await fullToken(env, "acme"));
  const [{ code, ms }, line] = await Promise.all([gateway.stop(), lastLine(last)]);
  expect(line).not.toContain('"export"');
  expect(code).toBe(0);
  expect(ms).toBeLessThan(10_000);
});
