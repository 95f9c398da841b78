import { execFileSync } from "node:child_process";
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { afterAll, expect, inject, test } from "vitest";
import { type Client, createClient, kycFields } from "./support/client.ts";
import {
  type Env,
  freshEnv,
  type Gateway,
  later,
  readDevToken,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";
import { compare, keepWriting, readNumbers } from "./support/writers.ts";

// The first statements of an engine take more than a second on a busy machine.
const LIMITS = { LOG_LEVEL: "warn", STATEMENT_TIMEOUT: "2 s", REQUEST_TIMEOUT: "3 s" };
/** Milliseconds. */
const BOUNDED = 6500;
const DISK = 160 * 1024 * 1024;

afterAll(tidyUp);

const statusOf = async ({ url }: Gateway, path: string) =>
  (await createClient(url, null).send("GET", path)).status;

/** Writes a record as a client does that is answered 503: an engine's first statements take long on a busy machine. */
async function writeInTheEnd(client: Client, documentNumber: string): Promise<void> {
  const options = {
    headers: { "content-type": "application/json", "idempotency-key": documentNumber },
    body: JSON.stringify(kycFields("busy", documentNumber)),
  };
  const write = async () => (await client.send("POST", "/v1/kyc", options)).status;
  await expect.poll(write, { timeout: 10_000 }).toBe(201);
}

/** A new small disk, or undefined if this user may not mount one. */
async function mountDisk(): Promise<string | undefined> {
  const folder = await temporaryFolder();
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK}`, "tmpfs", folder], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  later(async () => execFileSync("umount", ["--lazy", folder]));
  return folder;
}

test("while another client keeps the embedded database to itself, requests get 503 in bounded time, and then go on", async () => {
  const env: Env = await freshEnv("the embedded database");
  const gateway = await startGateway({ ...env, ...LIMITS });
  const client = createClient(gateway.url, await readDevToken(env));
  const other = postgres({
    path: join(env.DATA_DIR ?? "", ".s.PGSQL.5432"),
    ...{ database: "postgres", username: "postgres", max: 1 },
  });
  await other.begin(async (tx) => {
    await tx`select 1`;
    const asked = performance.now();
    const [read, write, ready] = await Promise.all([
      client.graphql("{ kycs { totalCount } }"),
      client.form("POST", "/v1/kyc", kycFields("busy", "B-1")),
      client.send("GET", "/ready"),
    ]);
    expect(performance.now() - asked).toBeLessThan(BOUNDED);
    for (const answer of [read, write]) {
      expect(answer.status).toBe(503);
      expect(answer.headers.get("retry-after")).toBe("1");
    }
    expect(ready.status).toBe(503);
    expect(await statusOf(gateway, "/health")).toBe(200);
  });
  await other.end();
  await expect.poll(() => statusOf(gateway, "/ready"), { timeout: 10_000 }).toBe(200);
  await writeInTheEnd(client, "B-2");
});

test("while a statement of another client keeps the embedded database busy, requests get 503 in bounded time", async () => {
  const env: Env = await freshEnv("the embedded database");
  const gateway = await startGateway({ ...env, ...LIMITS });
  const client = createClient(gateway.url, await readDevToken(env));
  const other = postgres({
    path: join(env.DATA_DIR ?? "", ".s.PGSQL.5432"),
    ...{ database: "postgres", username: "postgres", max: 1, onnotice: () => {} },
  });
  let isBusy = true;
  const busy = other`select count(*) from generate_series(1, 25000000)`.then(() => {
    isBusy = false;
  });
  await wait(300);
  const asked = performance.now();
  const [read, write, ready, health] = await Promise.all([
    client.graphql("{ kycs { totalCount } }"),
    client.form("POST", "/v1/kyc", kycFields("busy", "B-1")),
    client.send("GET", "/ready"),
    client.send("GET", "/health"),
  ]);
  expect(isBusy).toBe(true);
  expect(performance.now() - asked).toBeLessThan(BOUNDED);
  for (const answer of [read, write]) {
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("1");
  }
  expect([ready.status, health.status]).toEqual([503, 200]);
  await busy;
  await other.end();
  await expect.poll(() => statusOf(gateway, "/ready"), { timeout: 10_000 }).toBe(200);
  await writeInTheEnd(client, "B-2");
});

test("a gateway that is told to stop while a statement keeps its embedded database busy ends in bounded time", async () => {
  const env: Env = await freshEnv("the embedded database");
  const gateway = await startGateway({ ...env, ...LIMITS });
  const client = createClient(gateway.url, await readDevToken(env));
  await writeInTheEnd(client, "B-3");
  const other = postgres({
    path: join(env.DATA_DIR ?? "", ".s.PGSQL.5432"),
    ...{ database: "postgres", username: "postgres", max: 1, onnotice: () => {} },
  });
  const cut = expect(other`select count(*) from generate_series(1, 1000000000000)`).rejects.toThrow();
  await wait(300);
  expect((await gateway.stop("SIGTERM")).ms).toBeLessThan(15_000);
  await cut;
  await other.end({ timeout: 1 });

  const again = await startGateway({ ...env, ...LIMITS });
  const { json } = await createClient(again.url, await readDevToken(env)).graphql("{ kycs { totalCount } }");
  expect(json).toMatchObject({ data: { kycs: { totalCount: 1 } } });
});

test.concurrent("a client that idles in a transaction of the embedded database keeps others waiting no longer than ten seconds", async ({
  expect,
}) => {
  const env: Env = await freshEnv("the embedded database");
  const gateway = await startGateway({ ...env, ...LIMITS });
  const other = postgres({
    path: join(env.DATA_DIR ?? "", ".s.PGSQL.5432"),
    ...{ database: "postgres", username: "postgres", max: 1, onnotice: () => {} },
  });
  const idling = other.begin(async (tx) => {
    await tx`select 1`;
    await wait(14_000);
  });
  idling.catch(() => {});
  await wait(500);
  expect(await statusOf(gateway, "/ready")).toBe(503);
  await expect.poll(() => statusOf(gateway, "/ready"), { timeout: 13_000 }).toBe(200);
  await expect(idling).rejects.toThrow();
  await other.end({ timeout: 1 });
});

test.concurrent("on a full disk the embedded database refuses writes with 503, and loses nothing that it acknowledged", async ({
  expect,
  skip,
}) => {
  const disk = await mountDisk();
  if (disk === undefined) return skip("this user may not mount a small disk to fill");
  const env: Env = { DATA_DIR: join(disk, "data") };
  await cp(inject("unusedDataDir"), env.DATA_DIR as string, { recursive: true });
  const gateway = await startGateway({ ...env, ...LIMITS });
  const token = await readDevToken(env);
  const ledger = keepWriting([gateway.url], token, 2);
  await expect.poll(() => ledger.acknowledged.size, { timeout: 20_000 }).toBeGreaterThan(50);

  const { bavail, bsize } = statfsSync(disk);
  writeFileSync(join(disk, "filler"), Buffer.alloc(bavail * bsize - 512 * 1024));
  const client = createClient(gateway.url, token);
  // Long values fill what is left sooner.
  await expect
    .poll(() => ledger.statuses.get(503) ?? 0, { timeout: 60_000, interval: 250 })
    .toBeGreaterThan(10);
  expect(await statusOf(gateway, "/health")).toBe(200);
  expect((await client.send("GET", "/v1/kyc?limit=1")).status).toBeOneOf([200, 503]);
  await wait(1000);
  rmSync(join(disk, "filler"));

  await expect.poll(() => statusOf(gateway, "/ready"), { timeout: 30_000 }).toBe(200);
  await expect
    .poll(
      async () => {
        ledger.reset();
        await wait(1000);
        return [...ledger.statuses.keys()];
      },
      { timeout: 30_000 },
    )
    .toEqual([201]);
  await ledger.stop();
  expect(ledger.strange).toEqual([]);
  expect(compare(ledger, await readNumbers(gateway.url, token))).toEqual([]);
  expect(await gateway.stop()).toMatchObject({ code: 0 });

  const again = await startGateway(env);
  expect(compare(ledger, await readNumbers(again.url, token))).toEqual([]);
});
