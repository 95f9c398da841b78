import { existsSync, readdirSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { create, list } from "tar";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, createClient, kycFields } from "./support/client.ts";
import {
  type Env,
  freshEnv,
  type Gateway,
  readDevToken,
  runCli,
  start,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";

const CLI = join(import.meta.dirname, "../../dist/cli.js");
/** How long a request may take while the files are copied. Milliseconds. */
const LONGEST_WAIT = 6000;

let env: Env;
let gateway: Gateway;
let token: string;
let folder: string;

beforeAll(async () => {
  env = await freshEnv("the embedded database");
  gateway = await startGateway({ ...env, LOG_LEVEL: "warn" });
  token = await readDevToken(env);
  folder = await temporaryFolder();
});
afterAll(tidyUp);

/** Waits for what a command makes when it begins. */
async function appears(isThere: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!isThere() && performance.now() < deadline) await wait(5);
}

/** The folders in which backups to a file are made. */
const unfinished = (file: string) =>
  readdirSync(dirname(file))
    .filter((name) => name.startsWith(`${basename(file)}.unfinished-`))
    .map((name) => join(dirname(file), name));

const keysOf = ({ DATA_DIR = "" }: Env) => join(DATA_DIR, "encryption-keys");
const newEnv = async () => ({ DATA_DIR: join(await temporaryFolder(), "data") });

async function namesIn(file: string): Promise<string[]> {
  const names: string[] = [];
  await list({ file, strict: true, onReadEntry: ({ path }) => void names.push(path) });
  return names;
}

/** Creates records until it is stopped; gives the numbers of those that were acknowledged. */
function startWriting(client: Client, name: string) {
  const acknowledged: string[] = [];
  const answers = { slowest: 0, faults: [] as string[] };
  let going = true;
  const run = async () => {
    for (let n = 0; going; n++) {
      const from = performance.now();
      const { status } = await client.form("POST", "/v1/kyc", kycFields("customer", `${name}-${n}`));
      answers.slowest = Math.max(answers.slowest, performance.now() - from);
      if (status === 201) acknowledged.push(`${name}-${n}`);
      else if (status !== 503) answers.faults.push(`${status}`);
    }
  };
  const ended = run();
  return {
    acknowledged,
    answers,
    stop: () => {
      going = false;
      return ended;
    },
  };
}

async function readNumbers(client: Client): Promise<Set<string>> {
  const numbers = new Set<string>();
  for (let path = "/v1/kyc?limit=100"; ; ) {
    const { json } = await client.send("GET", path);
    for (const row of json.data) numbers.add(row.document_number);
    if (!json.has_more) return numbers;
    path = `/v1/kyc?limit=100&starting_after=${json.data.at(-1).id}`;
  }
}

/** Restores a backup into a fresh folder, to the keys that were kept apart, and gives what its gateway serves. */
async function restored(file: string): Promise<Set<string>> {
  const target = await newEnv();
  await mkdir(target.DATA_DIR, { mode: 0o700 });
  await copyFile(keysOf(env), keysOf(target));
  expect(await runCli(["restore", file], target)).toMatchObject({ code: 0, stdout: "" });
  return readFrom(target);
}

async function readFrom(target: Env): Promise<Set<string>> {
  const other = await startGateway({ ...target, LOG_LEVEL: "warn" });
  const numbers = await readNumbers(createClient(other.url, token));
  await other.stop();
  return numbers;
}

describe("a backup", () => {
  test("of a gateway that serves writes has every one that was acknowledged before, and keeps nobody waiting for long", async () => {
    const client = createClient(gateway.url, token);
    const writers = ["a", "b", "c", "d"].map((name) => startWriting(client, name));
    const acknowledged = () => writers.flatMap((writer) => writer.acknowledged);
    await expect.poll(() => acknowledged().length, { timeout: 30_000 }).toBeGreaterThan(50);
    const before = acknowledged();
    const file = join(folder, "serving.tar.gz");
    expect(await runCli(["backup", file], env)).toMatchObject({ code: 0, stdout: "" });
    await wait(500);
    for (const writer of writers) {
      await writer.stop();
      expect(writer.answers.faults).toEqual([]);
      expect(writer.answers.slowest).toBeLessThan(LONGEST_WAIT);
    }
    const after = acknowledged();
    expect(after.length).toBeGreaterThan(before.length);

    expect(((await stat(file)).mode & 0o777).toString(8)).toBe("600");
    expect(await readdir(folder)).toEqual(["serving.tar.gz"]);
    const numbers = await restored(file);
    expect(before.filter((number) => !numbers.has(number))).toEqual([]);
    // Nothing of the original is touched, nor missing there.
    expect(await readNumbers(client)).toEqual(new Set(after));
  });

  test("holds neither tokens nor keys, unless the keys are asked for, and says to keep them apart", async () => {
    const plain = join(folder, "plain.tar.gz");
    const said = await runCli(["backup", plain], env);
    expect(said.stderr).toContain("Keep the encryption keys apart");
    expect(new Set((await namesIn(plain)).map((name) => name.split("/")[0]))).toEqual(new Set(["pgdata"]));

    const withKeys = join(folder, "with-keys.tar.gz");
    expect(await runCli(["backup", "--with-keys", withKeys], env)).toMatchObject({ code: 0 });
    expect(await namesIn(withKeys)).toContain("encryption-keys");
    const target = await newEnv();
    expect(await runCli(["restore", withKeys], target)).toMatchObject({ code: 0 });
    expect(await readFile(keysOf(target))).toEqual(await readFile(keysOf(env)));
    expect(((await stat(keysOf(target))).mode & 0o777).toString(8)).toBe("600");
    expect(((await stat(target.DATA_DIR)).mode & 0o777).toString(8)).toBe("700");
    expect(await readFrom(target)).toEqual(await readNumbers(createClient(gateway.url, token)));

    // Other keys are never written over, nor is their database left without them.
    const other = await newEnv();
    await mkdir(other.DATA_DIR, { mode: 0o700 });
    await writeFile(keysOf(other), "another:key\n");
    const refused = await runCli(["restore", withKeys], other);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("holds other keys") });
    expect(await readFile(keysOf(other), "utf8")).toBe("another:key\n");
    expect((await readdir(other.DATA_DIR)).sort()).toEqual(["encryption-keys", "lock"]);
  });

  test("works without a running gateway, also after one that was killed", async () => {
    const numbers = await readNumbers(createClient(gateway.url, token));
    await gateway.stop("SIGKILL");
    const file = join(folder, "stopped.tar.gz");
    expect(await runCli(["backup", file], env)).toMatchObject({ code: 0 });
    gateway = await startGateway({ ...env, LOG_LEVEL: "warn" });
    expect(await restored(file)).toEqual(numbers);
  });

  test("has the signing key, and a checkpoint that was kept tells that the backup is older", async () => {
    const client = createClient(gateway.url, token);
    const keep = async (name: string) => {
      const { json } = await client.graphql("{ auditCheckpoint }");
      const path = join(folder, name);
      await writeFile(path, (json.data as { auditCheckpoint: string }).auditCheckpoint);
      return path;
    };
    const before = await keep("before");
    const file = join(folder, "older.tar.gz");
    expect(await runCli(["backup", file], env)).toMatchObject({ code: 0 });
    expect((await client.form("POST", "/v1/kyc", kycFields("customer", "later"))).status).toBe(201);
    const after = await keep("after");
    const target = await newEnv();
    await mkdir(target.DATA_DIR, { mode: 0o700 });
    await copyFile(keysOf(env), keysOf(target));
    expect(await runCli(["restore", file], target)).toMatchObject({ code: 0 });
    const verify = (kept: string) =>
      runCli(["audit", "verify", "--account=demo", `--checkpoint=${kept}`], target);
    expect(await verify(before)).toMatchObject({ code: 0, stdout: "" });
    const said = await verify(after);
    expect(said).toMatchObject({ code: 1, stdout: expect.stringContaining("\ttruncated\t") });
    expect(said.stdout).toContain("an older copy of the database was restored");
  });

  test("never overwrites a file", async () => {
    const file = join(folder, "precious");
    await writeFile(file, "precious");
    const refused = await runCli(["backup", file], env);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("is there already") });
    expect(await readFile(file, "utf8")).toBe("precious");
  });

  test("that is killed leaves no file, and the gateway and the next backup go on", async () => {
    const client = createClient(gateway.url, token);
    const file = join(folder, "killed.tar.gz");
    for (const ms of [0, 100, 600]) {
      for (const left of unfinished(file)) await rm(left, { recursive: true });
      const run = start(process.execPath, [CLI, "backup", file], { env });
      await appears(() => unfinished(file).some((name) => existsSync(join(name, "files"))));
      await wait(ms);
      expect(await run.stop("SIGKILL")).toMatchObject({ signal: "SIGKILL" });
      expect(existsSync(file)).toBe(false);
      expect((await client.form("POST", "/v1/kyc", kycFields("customer", `after-${ms}`))).status).toBe(201);
    }
    expect(await runCli(["backup", file], env)).toMatchObject({ code: 0 });
    expect(unfinished(file)).toEqual([]);
    // It is whole: reading a file that is cut short fails.
    expect(await namesIn(file)).toContain("pgdata/PG_VERSION");
  });
});

describe("a restoration", () => {
  let file: string;
  beforeAll(async () => {
    file = join(folder, "whole.tar.gz");
    await runCli(["backup", file], env);
  });

  test("is refused while a gateway runs, and if there is a database already", async () => {
    const running = await runCli(["restore", file], env);
    expect(running).toMatchObject({ code: 1, stderr: expect.stringContaining("in use by the process") });
    const again = await runCli(["restore", file], await freshEnv("the embedded database"));
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("has a database already") });
  });

  test("takes no file that is cut short, or something else", async () => {
    const { size } = await stat(file);
    for (const length of [100, size - 10]) {
      const cut = join(folder, `cut-${length}.tar.gz`);
      await copyFile(file, cut);
      await truncate(cut, Math.floor(length));
      const target = await newEnv();
      const refused = await runCli(["restore", cut], target);
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("is not a whole backup") });
      expect(await readdir(target.DATA_DIR)).toEqual(["lock"]);
    }
    expect((await runCli(["restore", join(folder, "nowhere")], await newEnv())).code).toBe(1);

    // One that would write outside of the folder, directly or through a link.
    const [trap, target] = [await temporaryFolder(), await newEnv()];
    await mkdir(join(trap, "inside/pgdata"), { recursive: true });
    await symlink(trap, join(trap, "inside/pgdata/link"));
    await writeFile(join(trap, "evil"), "evil");
    await writeFile(join(trap, "inside/pgdata/PG_VERSION"), "18");
    const hostile = join(trap, "hostile.tar.gz");
    await create({ cwd: join(trap, "inside"), file: hostile, gzip: true, preservePaths: true }, [
      "pgdata",
      "../evil",
    ]);
    expect(await runCli(["restore", hostile], target)).toMatchObject({ code: 1 });
    expect(await readdir(target.DATA_DIR)).toEqual(["lock"]);
    expect(await readdir(join(target.DATA_DIR, ".."))).toEqual(["data"]);
  });

  test("that is killed leaves no database, and can be done again", async () => {
    const target = await newEnv();
    for (const ms of [0, 300]) {
      await rm(join(target.DATA_DIR, "restore.unfinished"), { recursive: true, force: true });
      const run = start(process.execPath, [CLI, "restore", file], { env: target });
      await appears(() => existsSync(join(target.DATA_DIR, "restore.unfinished")));
      await wait(ms);
      await run.stop("SIGKILL");
      expect(existsSync(join(target.DATA_DIR, "pgdata"))).toBe(false);
    }
    expect(await runCli(["restore", file], target)).toMatchObject({ code: 0 });
    expect((await readdir(target.DATA_DIR)).sort()).toEqual(["lock", "pgdata"]);
  });
});

test("with DATABASE_URL both name PostgreSQL's own tools instead", async () => {
  const server = { DATABASE_URL: "postgres://127.0.0.1:1/kyc" };
  const backup = await runCli(["backup", join(folder, "x")], server);
  expect(backup).toMatchObject({ code: 1, stderr: expect.stringContaining("pg_dump") });
  const restore = await runCli(["restore", join(folder, "x")], server);
  expect(restore).toMatchObject({ code: 1, stderr: expect.stringContaining("pg_restore") });
});
