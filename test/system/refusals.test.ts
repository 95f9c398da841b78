import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, expect, inject, test } from "vitest";
import { connect } from "../../src/db/pool/pool.ts";
import { newKey } from "../support/keys.ts";
import { administer, databaseUrl } from "../support/postgres-server.ts";
import { startReceiver } from "../support/receiver.ts";
import { type Client, createClient, kycFields } from "./support/client.ts";
import { startDebianPostgres } from "./support/debian.ts";
import {
  CLI,
  type Env,
  fullToken,
  later,
  ROOT,
  runCli,
  start,
  startGateway,
  tidyUp,
} from "./support/gateway.ts";

const execute = promisify(execFile);

afterEach(tidyUp);

/** A database and a role of the test's own, and the URL with which the role reaches the database. */
async function prepare(
  create = "",
  ...statements: string[]
): Promise<{ url: string; own: string; role: string }> {
  const name = `refusal_${randomBytes(6).toString("hex")}`;
  const server = inject("postgresUrl");
  await administer(
    server,
    `create role ${name} login password '${name}'`,
    `create database ${name} ${create}`,
  );
  later(() => administer(server, `drop database ${name} with (force)`, `drop role ${name}`));
  const own = databaseUrl(server, name);
  await administer(own, ...statements.map((statement) => statement.replaceAll("ROLE", name)));
  const url = new URL(own);
  url.username = name;
  url.password = name;
  return { url: url.href, own, role: name };
}

const run = (url: string, command: string[]) =>
  runCli(command, { DATABASE_URL: url, ENCRYPTION_KEYS: newKey("test"), PORT: "0" });

async function expectOneLine(
  url: string,
  words: RegExp[],
  commands = [["migrate"], ["serve"]],
): Promise<void> {
  for (const command of commands) {
    const { code, stderr } = await run(url, command);
    expect(code).toBe(1);
    const lines = stderr.trim().split("\n");
    expect(lines).toHaveLength(1);
    for (const word of words) expect(lines[0]).toMatch(word);
    expect(lines[0]).not.toContain("node:");
  }
}

test("for a role without CREATE on the database, PostgreSQL's message and the grants are printed", async () => {
  const { url } = await prepare();
  await expectOneLine(url, [/permission denied for database/, /42501/, /GRANT CREATE ON DATABASE/]);
});

test("for a role without CREATE on the schema, PostgreSQL's message and the grants are printed", async () => {
  const { url, own, role } = await prepare("", "revoke create on schema public from public");
  await administer(own, `grant create on database ${role} to ${role}`);
  await expectOneLine(url, [/permission denied for schema public/, /GRANT USAGE, CREATE ON SCHEMA public/]);
});

test("a database that is missing and a wrong password are reported in PostgreSQL's words", async () => {
  const { url } = await prepare();
  await expectOneLine(url.replace(/\/refusal_\w+$/, "/no_such_database"), [
    /database "no_such_database" does not exist/,
    /CREATE DATABASE/,
  ]);
  const wrong = new URL(url);
  wrong.password = "s3cret";
  await expectOneLine(wrong.href, [/password authentication failed for user/, /^(?!.*s3cret)/]);
});

test("a database with a tokens table of another program, or only the schema public of a dump, says so", async () => {
  const { own } = await prepare("", "create table tokens (id int, secret text)");
  await expectOneLine(own, [/relation "tokens" already exists/, /database of its own/, /pg_dump without -n/]);
});

test("a search_path without a schema says how to set it", async () => {
  const { url, own, role } = await prepare("", "alter role ROLE set search_path = nowhere");
  await administer(
    own,
    `grant create on database ${role} to ${role}`,
    `grant create on schema public to ${role}`,
  );
  await expectOneLine(url, [/no schema has been selected/, /search_path/]);
});

test.each(["LATIN1", "SQL_ASCII"])(
  "a database in %s is refused before anything is changed in it",
  async (encoding) => {
    const { own } = await prepare(`encoding '${encoding}' locale 'C' template template0`);
    await expectOneLine(own, [new RegExp(encoding), /UTF8/]);
  },
);

test("an embedded database on a full disk says that the disk is full", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kyc-full-"));
  later(() => rm(folder, { recursive: true, force: true }));
  const line = `mount -t tmpfs -o size=8m,mode=0700 none ${folder} && DATA_DIR=${folder}/data PORT=0 exec ${process.execPath} ${CLI} serve`;
  const failed = await execute("unshare", ["-rm", "sh", "-c", line]).catch((error) => error);
  const lines = failed.stderr.trim().split("\n");
  expect(lines.at(-1)).toMatch(/^error: the embedded database .* disk is full/);
  expect(failed.stderr).not.toMatch(/\[object|at .*node:/);
});

/** The statements of the section on roles in docs/operations.md, in their order: before the first migration, and after it. */
async function readGrants(): Promise<[before: string[], inside: string[], after: string[]]> {
  const [, section = ""] = (await readFile(join(ROOT, "docs/operations.md"), "utf8")).split("### Roles\n");
  const [, sql = ""] = /```sql\n(.*?)```/s.exec(section) ?? [];
  const parts = sql.split(/^-- .*\n/m).slice(1);
  return parts.map((part) =>
    part
      .split(";")
      .map((one) => one.trim())
      .filter(Boolean),
  ) as [string[], string[], string[]];
}

/** Places and releases holds, and erases a customer. A held record is not deleted. */
async function holdAndErase(client: Client): Promise<void> {
  const mutate = async (name: string, fields: string, input: object) => {
    const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input`;
    const document = `mutation ($input: ${type}!) { ${name}(input: $input) { ${fields} } }`;
    const { json } = await client.graphql(document, { input });
    return { code: json.errors?.[0]?.extensions.code as string | undefined, data: json.data?.[name] };
  };
  const why = { reason: "a canary of a reason" };
  const made = await client.form("POST", "/v1/kyc", kycFields("cus-2", "X-2"));
  const { id } = made.json;
  for (const held of [{ kycId: id }, { customerId: "cus-2" }]) {
    const { data, code } = await mutate("placeHold", "hold { id }", { ...held, ...why });
    expect(code).toBeUndefined();
    for (const [name, input] of [
      ["deleteKyc", { id }],
      ["eraseCustomer", { customerId: "cus-2", ...why }],
    ] as const) {
      const field = name === "deleteKyc" ? "deletedId" : "erasure { id }";
      expect(await mutate(name, field, input), name).toMatchObject({ code: "LEGAL_HOLD" });
    }
    const released = await mutate("releaseHold", "hold { id }", { id: data.hold.id, ...why });
    expect(released).toEqual({ code: undefined, data });
  }
  const update = { id, verificationStatus: "VERIFIED", ...why };
  expect(await mutate("updateKyc", "kyc { version }", update)).toMatchObject({ code: undefined });
  const wish = { customerId: "cus-2", reason: "asked by mail" };
  const erased = await mutate("eraseCustomer", "erasure { recordCount }", wish);
  expect(erased).toEqual({ code: undefined, data: { erasure: { recordCount: 1 } } });
}

/** Creates a webhook, and lets a process of its own deliver the event of a new record to it. */
async function deliverOne(env: Env, client: Client): Promise<void> {
  const receiver = await startReceiver();
  later(() => receiver.close());
  const own = { ...env, WEBHOOK_ALLOW_PRIVATE: "127.0.0.0/8" };
  const add = ["webhook", "create", "--account=demo", `--url=${receiver.url}`, "--events=kyc.created"];
  expect(await runCli(add, own)).toMatchObject({ code: 0 });
  const deliverer = start(process.execPath, [CLI, "deliver", "--port=0"], { env: own });
  const [, url = ""] = await deliverer.printed(/"url":"(http:[^"]+)"/);
  const isReady = async () => (await createClient(url, null).send("GET", "/ready")).status;
  await expect.poll(isReady, { timeout: 20_000 }).toBe(200);
  expect((await client.form("POST", "/v1/kyc", kycFields("cus", "X-3"))).status).toBe(201);
  await expect.poll(() => receiver.received.length, { timeout: 20_000 }).toBe(1);
  await expect
    .poll(async () => (await createClient(url, null).send("GET", "/metrics")).text, { timeout: 10_000 })
    .toContain('webhook_attempts_total{outcome="delivered"} 1');
  const { code } = await deliverer.stop();
  expect(code, deliverer.output()).toBe(0);
  expect(deliverer.output()).not.toMatch(/"level":(40|50)|permission denied/);
}

test("a role with the documented grants alone serves and delivers, and a role that owns the tables migrates", async () => {
  const { url } = await startDebianPostgres();
  const at = (user: string) => {
    const own = new URL(databaseUrl(url, "kyc"));
    own.username = user;
    own.password = "…";
    return own.href;
  };
  const [before, inside, after] = await readGrants();
  await administer(url, ...before);
  await administer(databaseUrl(url, "kyc"), ...inside);
  expect(await run(at("kyc_owner"), ["migrate"])).toMatchObject({ stderr: "The database is up to date.\n" });
  await administer(databaseUrl(url, "kyc"), ...after);
  const env = { DATABASE_URL: at("kyc_gateway"), ENCRYPTION_KEYS: newKey("test"), WEBHOOKS: "off" };
  const gateway = await startGateway(env);
  const client = createClient(gateway.url, await fullToken(env));
  const made = await client.form("POST", "/v1/kyc", kycFields("cus", "X-1"));
  expect(made.status).toBe(201);
  const path = `/v1/kyc/${made.json.id}`;
  expect((await client.form("PUT", path, { verification_status: "verified" })).status).toBe(200);
  expect((await client.send("DELETE", path)).status).toBe(200);
  await holdAndErase(client);
  await deliverOne(env, client);
  expect((await client.send("GET", "/ready")).status).toBe(200);
  const db = connect({ address: { url: at("kyc_gateway") }, poolSize: 1, prepare: true });
  later(() => db.close());
  // The gateway itself gives the events their positions.
  const unsealed = () =>
    db.execute(
      "select from audit_events left join ledger_entries using (account_id, sequence) where position is null",
    );
  await expect.poll(async () => (await unsealed()).length, { timeout: 10_000 }).toBe(0);
  expect((await db.execute("select from ledger_entries")).length).toBeGreaterThan(10);
  // The erasure has erased the reasons in the customer's events, and altered nothing that is proved.
  const reasons = await db.execute<{ reason: string }>(
    "select distinct reason from audit_events where reason is not null",
  );
  expect(reasons).toEqual([{ reason: "asked by mail" }]);
  const verified = await runCli(["audit", "verify"], env);
  expect(verified, verified.stderr).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/none was altered/),
  });
  for (const table of [
    "audit_events",
    "audit_event_records",
    "audit_event_customers",
    "ledger_entries",
    "ledger_nodes",
  ]) {
    for (const change of [`update ${table} set account_id = account_id`, `delete from ${table}`])
      await expect(db.execute(change), change).rejects.toMatchObject({ code: "42501" });
  }
  for (const table of ["ledger_heads", "ledger_progress"])
    await expect(db.execute(`delete from ${table}`), table).rejects.toMatchObject({ code: "42501" });
  expect((await run(at("kyc_gateway"), ["doctor", "--json"])).stdout).toMatch(/may serve, and not migrate/);
});
