import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { newKey } from "../support/keys.ts";
import { administer, databaseUrl, startPostgres } from "../support/postgres-server.ts";
import { createClient } from "./support/client.ts";
import { cuttableDatabase } from "./support/database-proxy.ts";
import { type Env, fullToken, type Gateway, later, startGateway, tidyUp } from "./support/gateway.ts";
import { createRepeatedly, expectOneRecordEach, type Seen } from "./support/repeating.ts";
import { compare, keepWriting, type Ledger, readNumbers } from "./support/writers.ts";

/** The time limit that the gateways are started with. Milliseconds. */
const STATEMENT_TIMEOUT = 1000;
const REQUEST_TIMEOUT = 2000;
/** The maximum time of a request on a busy machine. Milliseconds. */
const BOUNDED = REQUEST_TIMEOUT + 3500;
/** Until all is well again after a fault. Milliseconds. */
const RECOVERY = 20_000;
const LIMITS = {
  LOG_LEVEL: "warn",
  DATABASE_POOL_SIZE: "4",
  STATEMENT_TIMEOUT: `${STATEMENT_TIMEOUT} ms`,
  REQUEST_TIMEOUT: `${REQUEST_TIMEOUT} ms`,
};

type Server = Awaited<ReturnType<typeof startPostgres>>;

const statusOf = async (gateway: Gateway, path: string) =>
  (await createClient(gateway.url, null).send("GET", path)).status;
const memoryOf = async ({ url }: Gateway) => {
  const { text } = await createClient(url, null).send("GET", "/metrics");
  return Number(/^process_resident_memory_bytes (\S+)$/m.exec(text)?.[1]) / 1e6;
};

/** Resolves when the gateway is ready and every writer is served again. */
async function recovers(gateway: Gateway, ledger: Ledger & { reset(): void }): Promise<void> {
  await expect.poll(() => statusOf(gateway, "/ready"), { timeout: RECOVERY }).toBe(200);
  await expect
    .poll(
      async () => {
        ledger.reset();
        await wait(1000);
        return [...ledger.statuses.keys()];
      },
      { timeout: RECOVERY },
    )
    .toEqual([201]);
}

describe("while clients write, a gateway whose PostgreSQL", () => {
  // Acknowledged writes survive the server's death only if the server waits for its log.
  let server: Server;
  let env: Env;
  let token: string;
  let gateway: Gateway;
  let ledger: ReturnType<typeof keepWriting>;

  beforeAll(async () => {
    server = await startPostgres({ settings: ["synchronous_commit=on"] });
    later(() => server.stop());
    await administer(server.url, "create database faults");
    env = { DATABASE_URL: databaseUrl(server.url, "faults"), ...LIMITS };
    gateway = await startGateway(env);
    token = await fullToken(env);
  });
  beforeEach(async () => {
    await administer(databaseUrl(server.url, "faults"), "truncate kycs");
    ledger = keepWriting([gateway.url], token);
    await expect.poll(() => ledger.acknowledged.size, { timeout: 10_000 }).toBeGreaterThan(50);
  });
  afterEach(async () => {
    await ledger.stop();
    expect(ledger.strange).toEqual([]);
    expect(compare(ledger, await readNumbers(gateway.url, token))).toEqual([]);
    // Neither died nor was started anew.
    expect(process.kill(gateway.pid, 0)).toBe(true);
    expect(gateway.output()).not.toMatch(/unforeseen|uncaught/i);
  });
  afterAll(tidyUp);

  test("stands still answers 503 in bounded time, is not ready, and goes on with it", async () => {
    await server.signalAll("SIGSTOP");
    try {
      await wait(200);
      ledger.reset();
      const asked = performance.now();
      expect(await statusOf(gateway, "/ready")).toBe(503);
      expect(performance.now() - asked).toBeLessThan(BOUNDED);
      expect(await statusOf(gateway, "/health")).toBe(200);
      await wait(2 * BOUNDED);
      expect([...ledger.statuses.keys()]).toEqual([503]);
      expect(ledger.slowest).toBeLessThan(BOUNDED);
    } finally {
      await server.signalAll("SIGCONT");
    }
    await recovers(gateway, ledger);
  });

  test("is restarted answers 503 meanwhile, and goes on with it", async () => {
    await server.signalAll("SIGINT");
    await wait(1000);
    ledger.reset();
    expect(await statusOf(gateway, "/ready")).toBe(503);
    await wait(1500);
    expect([...ledger.statuses.keys()]).toEqual([503]);
    expect(ledger.slowest).toBeLessThan(BOUNDED);
    await server.startAgain();
    await recovers(gateway, ledger);
  });

  test.each([1, 2, 3])(
    "is killed in the middle of writes loses none that it acknowledged: round %i",
    async () => {
      await server.kill();
      ledger.reset();
      expect(await statusOf(gateway, "/ready")).toBe(503);
      await wait(500);
      expect(ledger.slowest).toBeLessThan(BOUNDED);
      await server.startAgain();
      await recovers(gateway, ledger);
    },
  );

  test("loses single connections again and again goes on, and loses nothing", async () => {
    const url = databaseUrl(server.url, "faults");
    const others = "datname = current_database() and pid <> pg_backend_pid()";
    for (let time = 0; time < 20; time++) {
      await administer(url, `select pg_terminate_backend(pid) from pg_stat_activity where ${others}`);
      await wait(100);
    }
    expect(ledger.slowest).toBeLessThan(BOUNDED);
    await recovers(gateway, ledger);
  });

  test("keeps all statements waiting answers 503 in bounded time with bounded memory, and recovers", async () => {
    const sql = postgres(databaseUrl(server.url, "faults"), { max: 1, onnotice: () => {} });
    const before = await memoryOf(gateway);
    const client = createClient(gateway.url, token);
    const { id, document_number: number } = (await client.send("GET", "/v1/kyc?limit=1")).json.data[0];
    const flood = async () => {
      const asked = performance.now();
      const { status } = await client.form("PUT", `/v1/kyc/${id}`, { document_number: "never" });
      return { status, ms: performance.now() - asked };
    };
    await sql.begin(async (tx) => {
      // The same request that `/ready` makes.
      await tx`lock table kycs, drizzle.__drizzle_migrations in access exclusive mode`;
      for (let wave = 0; wave < 3; wave++) {
        const answers = Promise.all(Array.from({ length: 400 }, flood));
        // The probe of `/metrics`, from which the memory was read, is used for 500 ms.
        await wait(600);
        expect(await statusOf(gateway, "/ready")).toBe(503);
        expect(await statusOf(gateway, "/health")).toBe(200);
        for (const { status, ms } of await answers) {
          expect(status).toBe(503);
          expect(ms).toBeLessThan(2 * BOUNDED);
        }
      }
      const [{ count } = { count: 99 }] = await tx<{ count: number }[]>`
        select count(*)::int from pg_stat_activity
        where datname = current_database() and application_name = 'kyc-gateway'`;
      expect(count).toBeLessThanOrEqual(8);
    });
    await sql.end();
    expect((await memoryOf(gateway)) - before).toBeLessThan(100);
    await recovers(gateway, ledger);
    const stored = await readNumbers(gateway.url, token);
    expect(stored.get(number)).toBe(1);
  });
});

describe("while clients repeat creates under their keys until they are answered, a PostgreSQL", () => {
  afterEach(tidyUp);

  test.each([
    ["is killed", (server: Server) => server.kill()],
    ["is shut down at once", (server: Server) => server.signalAll("SIGQUIT")],
  ])("that %s again and again leaves one record of each key", async (_how, end) => {
    const server = await startPostgres({ settings: ["synchronous_commit=on"] });
    later(() => server.stop());
    await administer(server.url, "create database keys");
    const env = {
      ...{ DATABASE_URL: databaseUrl(server.url, "keys"), ENCRYPTION_KEYS: newKey("test") },
      ...LIMITS,
    };
    const gateways = await Promise.all([startGateway(env), startGateway(env)]);
    const token = await fullToken(env);
    const seen: Seen = new Map();
    let over = false;
    const clients = Promise.all(
      Array.from({ length: 6 }, (_, n) =>
        createRepeatedly(`client-${n}`, seen, { gateways, token, isOver: () => over }),
      ),
    );
    for (let time = 0; time < 4; time++) {
      await wait(300 + Math.random() * 900);
      await end(server);
      await wait(300);
      await server.startAgain();
    }
    over = true;
    await clients;
    const client = createClient(gateways[0].url, token);
    await expect.poll(() => statusOf(gateways[0], "/ready"), { timeout: RECOVERY }).toBe(200);
    await expectOneRecordEach(seen, client);
    for (const gateway of gateways) expect(gateway.output()).not.toMatch(/unforeseen|uncaught/i);
  });
});

describe("gateways while clients write", () => {
  afterEach(tidyUp);

  test("one whose connections are cut and come back goes on, and loses nothing", async () => {
    const { env, cut, restore } = await cuttableDatabase();
    const gateway = await startGateway({ ...env, ...LIMITS });
    const token = await fullToken(env);
    const ledger = keepWriting([gateway.url], token);
    await wait(500);
    for (let time = 0; time < 4; time++) {
      await cut();
      expect(await statusOf(gateway, "/ready")).toBe(503);
      await wait(300);
      await restore();
      await recovers(gateway, ledger);
    }
    await ledger.stop();
    expect(ledger.strange).toEqual([]);
    expect(ledger.slowest).toBeLessThan(BOUNDED);
    expect(compare(ledger, await readNumbers(gateway.url, token))).toEqual([]);
  });

  test("one of two replicas is killed, and the other one goes on with all that either acknowledged", async () => {
    const { env } = await cuttableDatabase();
    const [one, other] = await Promise.all([
      startGateway({ ...env, ...LIMITS }),
      startGateway({ ...env, ...LIMITS }),
    ]);
    const token = await fullToken(env);
    const ledger = keepWriting([one.url, other.url], token);
    await wait(2000);
    expect(await one.stop("SIGKILL")).toMatchObject({ signal: "SIGKILL" });
    const before = ledger.acknowledged.size;
    await wait(1000);
    expect(ledger.acknowledged.size).toBeGreaterThan(before);
    await ledger.stop();
    expect(ledger.strange).toEqual([]);
    expect(compare(ledger, await readNumbers(other.url, token))).toEqual([]);
    expect(await statusOf(other, "/ready")).toBe(200);
  });
});
