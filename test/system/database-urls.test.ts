import { execFile } from "node:child_process";
import { chmod, copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { connect } from "../../src/db/pool/pool.ts";
import { administer, freePort, startPostgres, unprivileged } from "../support/postgres-server.ts";
import { findPrograms } from "./support/debian.ts";
import { tidyUp } from "./support/gateway.ts";
import { type Certificate, makeCertificate } from "./support/tls.ts";

const execute = promisify(execFile);

let folder: string;
let url: URL;
let first: Certificate;
let second: Certificate;
/** A port without a listener. */
let closedPort: number;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kyc-urls-"));
  await chmod(folder, 0o777);
  const { uid } = await unprivileged(folder);
  first = await makeCertificate(folder, "first", uid);
  second = await makeCertificate(folder, "second", uid);
  await writeFile(join(folder, "empty"), "");
  const { url: started, stop } = await startPostgres({
    installed: await findPrograms(),
    settings: [
      "listen_addresses=127.0.0.1,::1",
      ...[`unix_socket_directories=${folder}`, "ssl=on"],
      ...[`ssl_cert_file=${first.cert}`, `ssl_key_file=${first.key}`],
    ],
  });
  afterAll(async () => {
    await stop();
    await rm(folder, { recursive: true, force: true });
  });
  url = new URL(started);
  await administer(started, 'create database "café à"', "create database kyc");
  await administer(
    started.replace(/\/postgres$/, "/kyc"),
    "create role \"o'brien@kyc\" login password 'p:w/?#@+ %41'",
    "create role wide login password 'ﬁ…\u00a0é'",
  );
  closedPort = await freePort();
});
afterAll(tidyUp);

const LOOK = `select current_database(), current_user, current_setting('application_name'),
  coalesce(host(inet_server_addr()), 'socket'), coalesce(ssl, false), current_setting('work_mem')
  from pg_stat_ssl where pid = pg_backend_pid()`;

/** psql's result, or null if it does not connect. */
async function askPsql(address: string, env: Record<string, string>): Promise<string[] | null> {
  const options = { env: { PATH: process.env.PATH ?? "", HOME: folder, ...env } };
  const asked = execute("psql", [address, "-XAtwq", "-F|", "-c", LOOK], options);
  return asked.then(({ stdout }) => stdout.trim().split("|")).catch(() => null);
}

async function askGateway(address: string): Promise<string[] | null> {
  const db = connect({ address: { url: address }, poolSize: 1, prepare: true });
  try {
    const [row] = await db.send(LOOK, []);
    return (row ?? []).map((value) => (value === true ? "t" : value === false ? "f" : String(value)));
  } catch {
    return null;
  } finally {
    await db.close();
  }
}

type Row = (parts: {
  password: string;
  port: string;
  folder: string;
}) => string | [string, Record<string, string>];

const ROWS: Record<string, Row> = {
  "a plain URL": ({ password, port }) => `postgres://postgres:${password}@127.0.0.1:${port}/kyc`,
  "the other scheme": ({ password, port }) => `postgresql://postgres:${password}@localhost:${port}/kyc`,
  "an IPv6 address": ({ password, port }) => `postgres://postgres:${password}@[::1]:${port}/kyc`,
  "a folder as ?host=": ({ password, port, folder }) =>
    `postgres:///kyc?host=${folder}&port=${port}&user=postgres&password=${password}`,
  "an encoded folder as host": ({ password, port, folder }) =>
    `postgres://postgres:${password}@${encodeURIComponent(folder)}:${port}/kyc`,
  "several hosts": ({ password, port }) =>
    `postgres://postgres:${password}@127.0.0.1:${closedPort},localhost:${port}/kyc`,
  "several hosts of which one must take writes": ({ password, port }) =>
    `postgres://postgres:${password}@127.0.0.1:${closedPort},[::1]:${port}/kyc?target_session_attrs=read-write`,
  "several hosts as parameters": ({ password, port, folder }) =>
    `postgres://postgres:${password}@/kyc?host=127.0.0.1,${folder}&port=${closedPort},${port}`,
  "an address beside the host": ({ password, port }) =>
    `postgres://postgres:${password}@db.invalid:${port}/kyc?hostaddr=127.0.0.1`,
  "an encoded database": ({ password, port }) =>
    `postgres://postgres:${password}@127.0.0.1:${port}/caf%C3%A9%20%C3%A0`,
  "an encoded user and password": ({ port }) =>
    `postgres://o'brien%40kyc:p%3Aw%2F%3F%23%40+%20%2541@127.0.0.1:${port}/kyc`,
  "a user and password as parameters": ({ port }) =>
    `postgres://127.0.0.1:${port}/kyc?user=o'brien%40kyc&password=p:w/%3F%23%40+%20%2541`,
  "a password that SCRAM normalizes": ({ port }) =>
    `postgres://wide:${encodeURIComponent("ﬁ…\u00a0é")}@127.0.0.1:${port}/kyc`,
  "no database": ({ password, port }) => `postgres://postgres:${password}@127.0.0.1:${port}`,
  "sslmode=disable": ({ password, port }) =>
    `postgres://postgres:${password}@127.0.0.1:${port}/kyc?sslmode=disable`,
  "sslmode=prefer": ({ password, port }) =>
    `postgres://postgres:${password}@127.0.0.1:${port}/kyc?sslmode=prefer`,
  "sslmode=require": ({ password, port }) =>
    `postgres://postgres:${password}@127.0.0.1:${port}/kyc?sslmode=require`,
  "ssl=true": ({ password, port }) => `postgres://postgres:${password}@127.0.0.1:${port}/kyc?ssl=true`,
  "sslmode=verify-ca with an authority": ({ password, port }) =>
    `postgres://postgres:${password}@127.0.0.1:${port}/kyc?sslmode=verify-ca&sslrootcert=${first.authority}`,
  "sslmode=verify-full with an authority": ({ password, port }) =>
    `postgres://postgres:${password}@localhost:${port}/kyc?sslmode=verify-full&sslrootcert=${first.authority}`,
  "a certificate for another name": ({ password, port }) =>
    `postgres://postgres:${password}@127.0.0.1:${port}/kyc?sslmode=verify-full&sslrootcert=${first.authority}`,
  "a certificate of another authority": ({ password, port }) =>
    `postgres://postgres:${password}@localhost:${port}/kyc?sslmode=verify-ca&sslrootcert=${second.authority}`,
  "sslmode=require with another authority": ({ password, port }) =>
    `postgres://postgres:${password}@localhost:${port}/kyc?sslmode=require&sslrootcert=${second.authority}`,
  "a client certificate that nobody asks for": ({ password, port }) =>
    `postgres://postgres:${password}@localhost:${port}/kyc?sslmode=require&sslcert=${second.cert}&sslkey=${second.key}`,
  "an authority that is no file": ({ password, port }) =>
    `postgres://postgres:${password}@localhost:${port}/kyc?sslmode=verify-full&sslrootcert=/nowhere`,
  "channel binding": ({ password, port }) =>
    `postgres://postgres:${password}@localhost:${port}/kyc?sslmode=require&channel_binding=require&sslrootcert=${first.authority}`,
  "no encryption by GSSAPI, and keepalives": ({ password, port }) =>
    `postgres://postgres:${password}@localhost:${port}/kyc?gssencmode=disable&keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=9000`,
  "an application's name, a timeout and server settings": ({ password, port }) =>
    `postgres://postgres:${password}@localhost:${port}/kyc?application_name=ledger%201&connect_timeout=5&options=-c%20work_mem%3D7MB`,
  "a wrong password": ({ port }) => `postgres://postgres:wrong@127.0.0.1:${port}/kyc`,
  "a database that is missing": ({ password, port }) =>
    `postgres://postgres:${password}@127.0.0.1:${port}/none`,
  "a port where nothing listens": ({ password }) =>
    `postgres://postgres:${password}@127.0.0.1:${closedPort}/kyc`,
  "everything from the environment": ({ password, port }) => [
    "postgres://",
    {
      ...{ PGHOST: "127.0.0.1", PGPORT: port, PGUSER: "postgres", PGPASSWORD: password, PGDATABASE: "kyc" },
      ...{ PGSSLMODE: "require", PGAPPNAME: "from the environment", PGTARGETSESSIONATTRS: "any" },
      PGOPTIONS: "-c work_mem=9MB",
    },
  ],
  "a folder from the environment, and a URL that comes first": ({ password, port, folder }) => [
    `postgres://postgres:${password}@/kyc`,
    { PGHOST: folder, PGPORT: port, PGUSER: "nobody", PGTARGETSESSIONATTRS: "read-write" },
  ],
};

describe("a database URL connects to the same server as in psql", () => {
  test.each(Object.keys(ROWS))("%s", async (name) => {
    const row = ROWS[name]?.({ password: url.password, port: url.port, folder });
    const [address, env] = typeof row === "string" ? [row, {}] : (row ?? ["", {}]);
    vi.stubEnv("HOME", folder);
    for (const [variable, value] of Object.entries(env)) vi.stubEnv(variable, value);
    try {
      const found = await askGateway(address);
      const expected = await askPsql(address, env);
      // psql sends its own application name.
      expect(found?.map((value) => (value === "kyc-gateway" ? "psql" : value)) ?? null).toEqual(expected);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

test("a password file is read if nobody else can read it", async () => {
  const file = join(folder, "passwords");
  await writeFile(file, `# comment\n*:1:kyc:postgres:no\nlocalhost:${url.port}:k\\yc:*:${url.password}\n`, {
    mode: 0o600,
  });
  vi.stubEnv("PGPASSFILE", file);
  try {
    const address = `postgres://postgres@localhost:${url.port}/kyc`;
    expect(await askGateway(address)).not.toBeNull();
    await chmod(file, 0o644);
    expect(await askGateway(address)).toBeNull();
  } finally {
    vi.unstubAllEnvs();
  }
});

test("a certificate that is replaced by one that can't be verified is UNAVAILABLE, until it is right again", async () => {
  const address = `postgres://postgres:${url.password}@localhost:${url.port}/kyc?sslmode=verify-full&sslrootcert=${first.authority}`;
  const db = connect({ address: { url: address }, poolSize: 2, prepare: true });
  const swap = async ({ cert, key }: Certificate) => {
    await copyFile(cert, first.cert);
    await writeFile(first.key, await import("node:fs/promises").then(({ readFile }) => readFile(key)));
    await administer(
      url.href,
      "select pg_reload_conf()",
      "select pg_sleep(0.5)",
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kyc-gateway'",
    );
  };
  const kept = { cert: join(folder, "kept.crt"), key: join(folder, "kept.key"), authority: "" };
  await copyFile(first.cert, kept.cert);
  await copyFile(first.key, kept.key);
  await db.execute("select 1");
  await swap(second);
  await expect
    .poll(() => db.execute("select 1").catch((error) => error), { timeout: 5000 })
    .toMatchObject({
      ...{ code: "UNAVAILABLE", retryAfter: 1 },
      cause: { message: expect.stringMatching(/self-signed|certificate/) },
    });
  await swap(kept);
  await expect
    .poll(() => db.execute("select 1 as one").catch(() => []), { timeout: 5000 })
    .toEqual([{ one: 1 }]);
  await db.close();
});
