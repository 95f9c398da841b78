import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, lstat, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, inject, test } from "vitest";
import { lockFolder } from "../../src/db/embedded/folder-lock.ts";
import { migrate } from "../../src/db/migrating/migrate.ts";
import { ownMigrations } from "../../src/db/migrating/migration-files.ts";
import { futureMigrations } from "../support/future-migration.ts";
import { newKey } from "../support/keys.ts";
import { administer, databaseUrl, freePort } from "../support/postgres-server.ts";
import { startPgbouncer } from "./support/debian.ts";
import {
  CLI,
  createEmptyDatabase,
  type Env,
  freshEnv,
  fullToken,
  later,
  ROOT,
  start,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";
import { openSql } from "./support/sql.ts";
import { startPair } from "./support/standby.ts";

afterEach(tidyUp);

interface Finding {
  area: string;
  check: string;
  state: string;
  found: string;
  todo: string | null;
}

interface Diagnosis {
  code: number | null;
  findings: Finding[];
  /** The findings of this area and check, as `state: found`. */
  of(area: string, check: string): string[];
}

/** Runs `doctor --json` in an environment with these secrets, which must not be in its output. */
async function diagnose(env: Env, { secrets = [] as string[], before = "" } = {}): Promise<Diagnosis> {
  const script = `${before} exec ${process.execPath} ${CLI} doctor --json`;
  const run = start("bash", ["-c", script], { env });
  const { code } = await run.exited;
  expect(run.stderr()).toBe("");
  for (const secret of secrets) expect(run.output()).not.toContain(secret);
  const findings: Finding[] = JSON.parse(run.stdout());
  for (const { state, found, todo } of findings) {
    expect(["ok", "warning", "problem"]).toContain(state);
    expect(found).not.toMatch(/[\n\t]|\bat .*node:|\[object/);
    expect(todo === null).toBe(state === "ok");
  }
  expect(code).toBe(findings.some(({ state }) => state === "problem") ? 1 : 0);
  return {
    code,
    findings,
    of: (area, check) =>
      findings
        .filter((one) => one.area === area && one.check === check)
        .map(({ state, found }) => `${state}: ${found}`),
  };
}

const problemsOf = ({ findings }: Diagnosis) =>
  findings.filter(({ state }) => state === "problem").map(({ area, check }) => `${area} ${check}`);

/** The state of a folder: names, modes, times and contents. */
async function fingerprint(folder: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(folder, { recursive: true })).sort()) {
    const path = join(folder, name);
    const { mode, mtimeMs } = await lstat(path);
    hash.update(JSON.stringify([name, mode, mtimeMs]));
    if ((await lstat(path)).isFile()) hash.update(await readFile(path));
  }
  return hash.digest("hex");
}

test("nothing is made if there is no database yet, and nothing is wrong", async () => {
  const folder = await temporaryFolder();
  const diagnosis = await diagnose({ DATA_DIR: join(folder, "data") });
  expect(problemsOf(diagnosis)).toEqual([]);
  expect(diagnosis.of("database", "reachable").join()).toContain("the first start makes it");
  expect(await readdir(folder)).toEqual([]);
});

test("an embedded database is checked without a change in it, and through the gateway that has it open", async () => {
  const env = await freshEnv("the embedded database");
  const dataDir = String(env.DATA_DIR);
  const gateway = await startGateway(env);
  const open = await diagnose(env);
  expect(problemsOf(open)).toEqual([]);
  expect(open.of("database", "reachable")).toEqual([
    `ok: it answers, through the process ${gateway.pid}, which has it open`,
  ]);
  expect(open.of("keys", "tokens")).toEqual(["ok: all 1 are authentic"]);
  await gateway.stop();

  const before = await fingerprint(dataDir);
  const closed = await diagnose(env);
  expect(problemsOf(closed)).toEqual([]);
  expect(closed.of("keys", "numbers")).toEqual(["ok: none is plain or unbound"]);
  expect(await fingerprint(dataDir)).toBe(before);
  expect((await readdir(tmpdir())).filter((name) => name.startsWith("kyc-doctor-"))).toEqual([]);

  await chmod(dataDir, 0o755);
  await chmod(join(dataDir, "encryption-keys"), 0o644);
  const lax = await diagnose(env);
  expect(problemsOf(lax)).toEqual(["data folder folder"]);
  expect(lax.of("keys", "source").join()).toMatch(/^warning: the mode of .* is 644$/);
  expect((await lstat(join(dataDir, "encryption-keys"))).mode & 0o777).toBe(0o644);
});

test("while another process opens or closes the embedded database, it waits and then checks it", async () => {
  const env = await freshEnv("the embedded database");
  const dataDir = String(env.DATA_DIR);
  await (await startGateway(env)).stop();

  const unlock = await lockFolder(dataDir);
  const diagnosis = diagnose(env);
  expect(await Promise.race([diagnosis, wait(2500)])).toBeUndefined();
  unlock();
  const after = await diagnosis;
  expect(problemsOf(after)).toEqual([]);
  expect(after.of("database", "reachable").join()).toMatch(/^ok: it answers, in a copy of its files/);
});

test("each fault of the configuration is a problem, and everything else is checked nevertheless", async () => {
  const url = await createEmptyDatabase();
  const secrets = [new URL(url).password, "tiger-and-cat", "hunter2"];
  const env = {
    DATABASE_URL: url,
    ENCRYPTION_KEYS: "2026:tiger-and-cat",
    PORT: "hunter2",
    LOG_LEVEL: "loud",
  };
  const diagnosis = await diagnose({ ...env, PROT: "1", JWT_ISSUER: "https://hunter2" }, { secrets });
  expect(problemsOf(diagnosis).slice(0, 5).sort()).toEqual([
    "configuration ENCRYPTION_KEYS",
    "configuration JWT_AUDIENCE",
    "configuration JWT_JWKS_URL",
    "configuration LOG_LEVEL",
    "configuration PORT",
  ]);
  expect(diagnosis.of("configuration", "names").join()).toContain("PROT is not a setting");
  expect(diagnosis.of("database", "encoding")).toEqual(["ok: UTF8"]);
  expect(diagnosis.of("database", "migrations").join()).toContain("the first start makes the tables");
  expect(diagnosis.of("keys", "registered").join()).toContain("warning: not checked");

  const broken = await diagnose({ DATABASE_URL: "postgres://u:hunter2@h/x?nonsense=1" }, { secrets });
  expect(problemsOf(broken)).toEqual(["configuration DATABASE_URL"]);
  expect(broken.of("database", "contents").join()).toContain("not checked");
});

test("a database that is not there, refuses or never answers is a problem, in bounded time", async () => {
  const url = await createEmptyDatabase();
  const key = newKey("k");
  const other = (change: (url: URL) => void) => {
    const changed = new URL(url);
    change(changed);
    return changed.href;
  };
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket)).listen(0, "127.0.0.1");
  await once(silent, "listening");
  later(async () => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const unused = await freePort();
  const cases: [url: string, words: string][] = [
    [other((one) => (one.password = "wr0ng-pass")), "password authentication failed"],
    [other((one) => (one.pathname = "/no_such_database")), "does not exist"],
    [other((one) => (one.port = String(unused))), "ECONNREFUSED"],
    [other((one) => (one.port = String((silent.address() as AddressInfo).port))), "can't be reached"],
  ];
  const from = performance.now();
  const all = await Promise.all(
    cases.map(([address]) =>
      diagnose(
        { DATABASE_URL: address, ENCRYPTION_KEYS: key },
        { secrets: [key, new URL(url).password, "wr0ng-pass"] },
      ),
    ),
  );
  expect(performance.now() - from).toBeLessThan(60_000);
  for (const [index, [, words]] of cases.entries()) {
    expect(all[index]?.of("database", "reachable").join()).toContain(words);
    expect(problemsOf(all[index] as Diagnosis)).toEqual(["database reachable"]);
    expect(all[index]?.of("limits", "open files")).toHaveLength(1);
  }
});

/** A migrated database, a role that these statements prepare, and the environment for that role. */
async function withRole(...statements: string[]): Promise<{ env: Env; own: string; role: string }> {
  const own = await createEmptyDatabase();
  await migrate({ url: own });
  const role = `doctor_${randomBytes(6).toString("hex")}`;
  const name = new URL(own).pathname.slice(1);
  await administer(own, `create role ${role} login password '${role}'`);
  later(() => administer(inject("postgresUrl"), `drop role ${role}`));
  later(() => administer(own, `drop owned by ${role}`));
  const filled = statements.map((one) =>
    one.replaceAll("ROLE", role).replaceAll("DATABASE", `database ${name}`),
  );
  await administer(own, ...filled);
  const url = new URL(own);
  url.username = role;
  url.password = role;
  return { env: { DATABASE_URL: url.href, ENCRYPTION_KEYS: newKey("k") }, own, role };
}

const GRANTS = [
  "grant usage on schema drizzle, public to ROLE",
  "grant select on all tables in schema drizzle to ROLE",
  "grant select, insert, update, delete on all tables in schema public to ROLE",
];

test("a role's missing rights are named, and a read-only role, odd defaults and few connections are noticed", async () => {
  const lacking = await withRole(
    ...GRANTS,
    "revoke delete on kycs from ROLE",
    "revoke insert on audit_events from ROLE",
    "revoke update on ledger_heads from ROLE",
    "revoke update on legal_holds, job_leases from ROLE",
    "revoke delete on webhook_deliveries from ROLE",
    "revoke select on ledger_progress from ROLE",
  );
  const rights = (await diagnose(lacking.env)).of("database", "rights");
  expect(rights).toEqual([expect.stringMatching(/^problem: the role \w+ lacks /)]);
  const expected = [
    "DELETE on kycs",
    "INSERT on audit_events",
    "UPDATE on ledger_heads",
    "UPDATE on legal_holds",
    "UPDATE on job_leases",
    "DELETE on webhook_deliveries",
    "SELECT on ledger_progress",
  ];
  for (const right of expected) expect(rights.join()).toContain(right);
  expect(rights.join().match(/ on \w+/g)).toHaveLength(expected.length);
  const none = await diagnose((await withRole()).env);
  expect(problemsOf(none)).toContain("database migrations");
  expect(none.of("database", "migrations").join()).toContain("permission denied for schema drizzle");

  const fine = await withRole(...GRANTS, "revoke create on schema public from public");
  expect((await diagnose(fine.env)).of("database", "rights").join()).toMatch(
    /^ok: .* may serve, and not migrate/,
  );
  await administer(
    fine.own,
    `alter role ${fine.role} set default_transaction_read_only = on`,
    `alter role ${fine.role} set datestyle = 'SQL, DMY'`,
    `alter role ${fine.role} set transform_null_equals = on`,
    `alter role ${fine.role} connection limit 4`,
  );
  const odd = await diagnose(fine.env);
  expect(problemsOf(odd)).toEqual(["database writable"]);
  expect(odd.of("database", "connections").join()).toMatch(/^warning: .* this role may have 4,/);

  await administer(
    fine.own,
    `alter role ${fine.role} reset all`,
    `alter role ${fine.role} set search_path = nowhere`,
  );
  expect(problemsOf(await diagnose(fine.env))).toContain("database tables");
});

test("a database in another encoding, with pending migrations, of a newer release or of a part of a dump is noticed", async () => {
  const key = newKey("k");
  const name = `doctor_${randomBytes(6).toString("hex")}`;
  const server = inject("postgresUrl");
  await administer(server, `create database ${name} encoding 'SQL_ASCII' locale 'C' template template0`);
  later(() => administer(server, `drop database ${name} with (force)`));
  const ascii = await diagnose({ DATABASE_URL: databaseUrl(server, name), ENCRYPTION_KEYS: key });
  expect(ascii.of("database", "encoding").join()).toMatch(/^problem: .* SQL_ASCII/);

  const url = await createEmptyDatabase();
  const env = { DATABASE_URL: url, ENCRYPTION_KEYS: key };
  await migrate({ url }, ownMigrations().slice(0, 3));
  const behind = await diagnose(env);
  const [, , , ...pending] = ownMigrations();
  expect(behind.of("database", "migrations").join()).toMatch(
    new RegExp(`^warning: pending: .*${pending.map((one) => one.name).join(".*")}`),
  );
  expect(problemsOf(behind)).toEqual([]);
  await migrate({ url }, futureMigrations({ statements: ["select 1"] }));
  expect((await diagnose(env)).of("database", "migrations").join()).toMatch(/^warning: a newer release/);
  await administer(url, "drop schema drizzle cascade");
  expect((await diagnose(env)).of("database", "migrations").join()).toMatch(
    /^problem: .*not the schema drizzle/,
  );
});

test("a standby is a problem, and together with its primary none", async () => {
  const { primary, standby } = await startPair();
  const key = newKey("k");
  const alone = await diagnose({ DATABASE_URL: standby, ENCRYPTION_KEYS: key });
  expect(alone.of("database", "writable").join()).toMatch(/^problem: the server is a standby/);
  const { password, port } = new URL(primary);
  const both = `postgres://postgres:${password}@127.0.0.1:${new URL(standby).port},127.0.0.1:${port}/postgres`;
  expect(problemsOf(await diagnose({ DATABASE_URL: both, ENCRYPTION_KEYS: key }))).toEqual([]);
});

test("a missing key, another key of its id, a worn key, a key of zeros and none at all are problems", async () => {
  const env = await freshEnv("a real database");
  const gateway = await startGateway(env);
  await fullToken(env);
  await gateway.stop();
  const [key, other] = [String(env.ENCRYPTION_KEYS), newKey("test")];
  const good = await diagnose(env, { secrets: [key.slice(5)] });
  expect(problemsOf(good)).toEqual([]);
  expect(good.of("keys", "key test").join()).toMatch(
    /^ok: fingerprint [\w-]{12}, has sealed about \d+ of 4294967296 texts$/,
  );

  const faults: [env: Env, words: RegExp][] = [
    [{ ...env, ENCRYPTION_KEYS: newKey("young") }, /the key "test" is missing/],
    [{ ...env, ENCRYPTION_KEYS: other }, /the key "test" is another one/],
  ];
  for (const [faulty, words] of faults) {
    const diagnosis = await diagnose(faulty, { secrets: [key.slice(5), other.slice(5)] });
    expect(diagnosis.of("keys", "registered").join()).toMatch(words);
    expect(diagnosis.code).toBe(1);
  }
  const zeros = `z:${Buffer.alloc(32).toString("base64")}`;
  expect(problemsOf(await diagnose({ ...env, ENCRYPTION_KEYS: zeros }))).toEqual([
    "configuration ENCRYPTION_KEYS",
  ]);
  const file = join(await temporaryFolder(), "keys");
  const { ENCRYPTION_KEYS: _, ...withoutKeys } = env;
  const fromFile = { ...withoutKeys, ENCRYPTION_KEYS_FILE: file };
  expect((await diagnose(fromFile)).of("keys", "source").join()).toContain("problem: there is no file");
  await writeFile(file, `${zeros}\n`);
  expect((await diagnose(fromFile)).of("keys", "source").join()).toContain("a key of zeros protects nothing");

  const sql = openSql(env);
  await sql`update encryption_keys set seals = 3e9`;
  expect((await diagnose(env)).of("keys", "key test").join()).toMatch(/^warning/);
  await sql`update encryption_keys set seals = 5e9`;
  expect(problemsOf(await diagnose(env))).toEqual(["keys key test"]);
});

test("forged tokens, plain numbers and numbers that are not bound are noticed", async () => {
  const env = await freshEnv("a real database");
  const gateway = await startGateway(env);
  await fullToken(env);
  await gateway.stop();
  const sql = openSql(env);
  await sql`update tokens set scopes = '{audit:read}'`;
  expect((await diagnose(env)).of("keys", "tokens").join()).toMatch(
    /^problem: 1 of 1 are not authentic: \w+$/,
  );
  await sql`delete from milestones where name = 'numbers_bound'`;
  expect((await diagnose(env)).of("keys", "numbers").join()).toMatch(/^warning: .* not bound/);
  await sql`alter table kycs disable trigger all`;
  const insert = (number: string) => sql`insert into kycs (account_id, id, customer_id, verification_status,
    document_type, document_number, created_at, updated_at, version)
    values ('demo', 'abcdefghijklmnop', 'c', 'pending', 'visa', ${number}, now(), now(), 1)`;
  await insert("P-4711-plain");
  const plain = await diagnose(env, { secrets: ["P-4711-plain"] });
  expect(plain.of("keys", "numbers").join()).toMatch(/^problem: there are plain document numbers/);
});

test.each([
  [90_000, "problem"],
  [-90_000, "problem"],
  [5000, "warning"],
  [0, "ok"],
])("a clock that is %i ms ahead is %s", async (offset, state) => {
  const env = await freshEnv("a real database");
  const shift = `const now = Date.now; Date.now = () => now() + ${offset};`;
  const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(shift)}`;
  const diagnosis = await diagnose({ ...env, NODE_OPTIONS });
  expect(diagnosis.of("clocks", "database").join()).toMatch(new RegExp(`^${state}: `));
});

test("few open files, little memory and a full disk are noticed", async () => {
  const env = await freshEnv("a real database");
  const files = await diagnose(env, { before: "ulimit -n 1000;" });
  expect(files.of("limits", "open files").join()).toMatch(/^warning: ulimit -n is 1000: room for 788 /);
  const none = await diagnose(env, { before: "ulimit -n 150;" });
  expect(problemsOf(none)).toEqual(["limits open files"]);
  const memory = await diagnose({ ...env, UPLOAD_MEMORY_LIMIT: "90000000 MiB" });
  expect(memory.of("limits", "memory").join()).toMatch(/^warning/);
  const folder = await mkdtemp(join(tmpdir(), "kyc-full-"));
  later(() => rm(folder, { recursive: true, force: true }));
  const script = `mount -t tmpfs -o size=8m,mode=0700 none ${folder} && exec ${process.execPath} ${CLI} doctor --json`;
  const run = start("unshare", ["-rm", "sh", "-c", script], { env: { DATA_DIR: join(folder, "data") } });
  expect(await run.exited).toMatchObject({ code: 1 });
  const disk = JSON.parse(run.stdout()).find(({ check }: Finding) => check === "disk of DATA_DIR");
  expect(disk).toMatchObject({ state: "problem", found: expect.stringMatching(/^[78] MiB are free/) });
});

test("a pooler that loses prepared statements is a problem, unless they are turned off", async () => {
  const env = await freshEnv("a real database");
  const direct = String(env.DATABASE_URL);
  await migrate({ url: direct });
  const pooled = await startPgbouncer(direct);
  const lossy = await diagnose({ ...env, DATABASE_URL: pooled });
  expect(problemsOf(lossy)).toEqual(["database pooler"]);
  const safe = await diagnose({ ...env, DATABASE_URL: pooled, DATABASE_PREPARE: "false" });
  expect(problemsOf(safe)).toEqual([]);
  expect(safe.of("database", "pooler").join()).toMatch(/^ok: a pooler/);
  const needless = await diagnose({ ...env, DATABASE_PREPARE: "false" });
  expect(needless.of("database", "pooler").join()).toMatch(/^warning/);
});

test("a gateway that the network reaches without TLS is noticed", async () => {
  const env = await freshEnv("a real database");
  const open = await diagnose({ ...env, HOST: "0.0.0.0", RATE_LIMIT: "100" });
  expect(open.of("network", "HOST").join()).toMatch(/^warning: .* without TLS/);
  expect(open.of("network", "RATE_LIMIT").join()).toMatch(/^warning/);
  const behind = await diagnose({ ...env, HOST: "0.0.0.0", TRUSTED_PROXIES: "10.0.0.0/8" });
  expect(behind.of("network", "HOST").join()).toMatch(/^ok/);
});

test("people get a table, and a wrong option is a fault of usage", async () => {
  const env = { ...(await freshEnv("a real database")), PORT: "x" };
  const table = start(process.execPath, [CLI, "doctor"], { env });
  expect(await table.exited).toMatchObject({ code: 1 });
  const [head, ...lines] = table.stdout().trimEnd().split("\n");
  expect(head).toBe("area\tcheck\tstate\tfound\twhat to do");
  expect(lines.filter((line) => line.split("\t")[2] === "problem")).toEqual([
    expect.stringMatching(/^configuration\tPORT\tproblem\tPORT must be an integer from 0 to 65535\t/),
  ]);
  const wrong = start(process.execPath, [CLI, "doctor", "--fix"], { env });
  expect(await wrong.exited).toMatchObject({ code: 2 });
});

test("the commands of docs/operations.md print the same findings, as a table and as JSON", async () => {
  const document = await readFile(join(ROOT, "docs/operations.md"), "utf8");
  const [, block = ""] = /### Checking an installation\n.*?```sh\n(.*?)```/s.exec(document) ?? [];
  const env = await freshEnv("a real database");
  const outputs: string[] = [];
  for (const line of block.trim().split("\n")) {
    const [, args = ""] = /^npx kyc-gateway (.*)$/.exec(line) ?? [];
    const run = start(process.execPath, [CLI, ...args.split(" ")], { env });
    expect(await run.exited).toMatchObject({ code: 0 });
    outputs.push(run.stdout());
  }
  const [table = "", json = ""] = outputs;
  const checks = table
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.split("\t").slice(0, 2));
  expect(checks).toEqual(JSON.parse(json).map(({ area, check }: Finding) => [area, check]));
});
