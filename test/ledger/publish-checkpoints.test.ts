import { execFile } from "node:child_process";
import { appendFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { startPublishing } from "../../src/ledger/publish-checkpoints.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { newKey } from "../support/keys.ts";
import { sealAll, writeEvents } from "../support/ledger.ts";

const KEY = newKey("one");
let gateway: TestApp;
let folder: string;
beforeAll(async () => {
  gateway = await createTestApp({ ENCRYPTION_KEYS: KEY });
  folder = await mkdtemp(join(tmpdir(), "checkpoints-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await gateway.close();
});

let stop: () => Promise<void> = async () => {};
let published: { account: string; size: number }[];
let broken: unknown[];
let brokenCount: number | undefined;
let publications = 0;
let failures: unknown[];
beforeEach(() => {
  published = [];
  broken = [];
  failures = [];
});
afterEach(() => stop());

/** The keys as another process opens them. */
const restarted = () => new Keyring([{ id: "one", secret: Buffer.from(KEY.slice("one:".length), "base64") }]);

function publish(file?: string, keys = gateway.keys) {
  stop = startPublishing({
    ...{ db: gateway.db, keys, logName: undefined, interval: 20, file },
    onCheckpoint: (one) => published.push(one),
    onBroken: (log) => broken.push(log),
    onBrokenCount: (count) => {
      brokenCount = count;
      publications += 1;
    },
    onFailure: (error) => failures.push(error),
  });
}
const write = async (account: string, ...requests: string[]) => {
  await writeEvents(gateway.db, account, requests);
  await sealAll(gateway.db);
};
const sizesOf = (account: string) =>
  published.filter((one) => one.account === account).map(({ size }) => size);
const TABLES = ["ledger_heads", "ledger_entries", "audit_event_records", "audit_events"];

test("a publication of many logs that have not grown reads them a thousand at a time, and nothing else", async () => {
  await gateway.db.execute(
    `insert into ledger_heads
     select 'idle' || lpad(n::text, 4, '0'), 1, sha256(n::text::bytea) from generate_series(1, 2500) as n`,
  );
  publish();
  await expect.poll(() => sizesOf("idle2500"), { timeout: 60_000 }).toEqual([1]);
  expect(new Set(published.map(({ account }) => account)).size).toBe(published.length);
  // The publication that has just ended, or ends now, is not counted.
  const nextOnes = async (count: number) => {
    const until = publications + count;
    await expect.poll(() => publications, { timeout: 60_000 }).toBeGreaterThanOrEqual(until);
  };
  await nextOnes(2);
  const statements: string[] = [];
  const stopObserving = gateway.db.observe({ statementEnded: ({ text }) => statements.push(text) });
  const before = publications;
  await nextOnes(3);
  stopObserving();
  expect(statements.length).toBeGreaterThan(3);
  expect(statements.length).toBeLessThanOrEqual(3 * (publications - before + 1));
  await gateway.db.execute("delete from ledger_heads where account_id like 'idle%'");
});

test("a log that was cut to an older copy is reported once and not signed, not even when it has grown again", async () => {
  await write("acme", "a0", "a1", "a2");
  await write("globex", "g0");
  for (const table of TABLES) await gateway.db.execute(`create table old_${table} as select * from ${table}`);
  await write("acme", "a3", "a4");
  publish();
  await expect.poll(() => sizesOf("acme")).toEqual([5]);
  expect(brokenCount).toBe(0);
  for (const table of TABLES) {
    await gateway.db.execute(`delete from ${table}`);
    const override = table === "audit_events" ? "overriding system value" : "";
    await gateway.db.execute(`insert into ${table} ${override} select * from old_${table}`);
  }
  await expect.poll(() => broken).toEqual([{ account: "acme", size: 3, signedSize: 5 }]);
  await expect.poll(() => brokenCount).toBe(1);
  await write("acme", "b3", "b4", "b5");
  await write("globex", "g1");
  await expect.poll(() => sizesOf("globex").at(-1)).toBe(2);
  await expect.poll(() => brokenCount).toBe(1);
  expect(sizesOf("acme")).toEqual([5]);
  expect(broken).toHaveLength(1);
});

// A device of the test's own: the gateway makes its file private, and everyone uses /dev/full.
const makeFullDisk = (path: string) =>
  promisify(execFile)("mknod", [path, "c", "1", "7"]).then(
    () => true,
    () => false,
  );

test("a full disk fails the publication once for the outage, and the heads are published when there is room", async (context) => {
  const full = join(folder, "full");
  if (!(await makeFullDisk(full))) context.skip("only root can make a device");
  publish(full);
  await expect.poll(() => failures).toEqual([expect.objectContaining({ code: "ENOSPC" })]);
  expect(published).toEqual([]);
  await stop();
  const file = join(folder, "checkpoints");
  publish(file);
  await expect.poll(() => sizesOf("globex")).toEqual([2]);
  expect(await readFile(file, "utf8")).toContain('"account":"globex","size":2');
});

/** Puts back an older head, as a writer of the database can. */
async function cut(account: string, change: () => Promise<void>): Promise<void> {
  for (const table of TABLES)
    await gateway.db.execute(
      `create table cut_${table} as select * from ${table} where account_id = '${account}'`,
    );
  await change();
  for (const table of TABLES) {
    await gateway.db.execute(`delete from ${table} where account_id = $1`, [account]);
    const override = table === "audit_events" ? "overriding system value" : "";
    await gateway.db.execute(`insert into ${table} ${override} select * from cut_${table}`);
    await gateway.db.execute(`drop table cut_${table}`);
  }
}
const checkpointOf = async (account: string) => {
  const { data, errors } = await gateway.graphql(
    await gateway.token(account, ["audit:read"]),
    "{ auditCheckpoint }",
  );
  return data?.auditCheckpoint ?? errors?.[0]?.extensions.code;
};
const sizeOf = async (account: string) =>
  (
    await gateway.db.execute<{ size: number }>(
      "select size::float8 from ledger_heads where account_id = $1",
      [account],
    )
  )[0]?.size ?? 0;

test("nothing signs a log that does not continue what a checkpoint to a client has said", async () => {
  await write("initech", "i0");
  await cut("initech", async () => {
    await write("initech", "i1");
    expect(await checkpointOf("initech")).toContain("/initech\n");
  });
  expect(await checkpointOf("initech")).toBe("INTERNAL");
  publish();
  await expect.poll(() => broken).toContainEqual(expect.objectContaining({ account: "initech" }));
  expect(sizesOf("initech")).toEqual([]);
});

test("after a restart, the file says what was signed: its last line of a log that a key of the database has signed", async () => {
  const file = join(folder, "restart");
  await write("hooli", "h0", "h1");
  await cut("hooli", async () => {
    await write("hooli", "h2");
    publish(file);
    await expect.poll(() => sizesOf("hooli").at(-1)).toBe(await sizeOf("hooli"));
    await stop();
  });
  const line = (await readFile(file, "utf8")).split("\n").find((text) => text.includes('"hooli"')) ?? "";
  const forged = line.replace(/\\n(\d+)\\n/, "\\n1\\n");
  await appendFile(
    file,
    `${forged}\n{"account":"hooli"}\nno JSON\nnull\n7\n[]\n\n{"account":"hooli","checkp`,
  );
  published = [];
  publish(file, restarted());
  await expect.poll(() => broken).toContainEqual(expect.objectContaining({ account: "hooli" }));
  expect(sizesOf("hooli")).toEqual([]);
  await stop();
  // Without the file, a process that has just started can't know it.
  publish(join(folder, "other"), restarted());
  await expect.poll(() => sizesOf("hooli").at(-1)).toBe(await sizeOf("hooli"));
});
