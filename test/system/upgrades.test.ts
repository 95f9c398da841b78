import { existsSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { afterAll, expect, test } from "vitest";
import { migrate } from "../../src/db/migrating/migrate.ts";
import { ownMigrations } from "../../src/db/migrating/migration-files.ts";
import { FUTURE_INDEX, futureMigrations } from "../support/future-migration.ts";
import { type Client, createClient, kycFields } from "./support/client.ts";
import {
  emptyEnv,
  freshEnv,
  fullToken,
  later,
  runCli,
  startGateway,
  temporaryFolder,
  tidyUp,
} from "./support/gateway.ts";

afterAll(tidyUp);

/** The maximum delay of a request by a migration, plus that of a busy machine. Milliseconds. */
const LONGEST_WAIT = 2500;
const ROWS = 200_000;

/** Changes of the tables by the next release: every allowed kind. */
const future = futureMigrations({
  statements: [
    'CREATE TABLE "notes" ("account_id" text, "id" text, PRIMARY KEY ("account_id", "id"))',
    'ALTER TABLE "kycs" ADD COLUMN "note" text',
    'ALTER TABLE "kycs" ADD COLUMN "count" integer DEFAULT 0 NOT NULL',
    'ALTER TABLE "kycs" ADD CONSTRAINT "counts" CHECK ("count" >= 0) NOT VALID',
    'ALTER TYPE "public"."document_type" ADD VALUE \'library_card\'',
  ],
  concurrentIndexes: [FUTURE_INDEX],
});

interface Load {
  answers: number;
  slowest: number;
  faults: string[];
  stop(): Promise<void>;
}

/** Between two requests of one client. Without it, the load would take the processors from what it is to measure. Milliseconds. */
const PAUSE = 10;

/** Writes, changes, reads and deletes on both surfaces, one request after another, until it is stopped. */
function startLoad(client: Client, name: string): Load {
  const load: Load = { answers: 0, slowest: 0, faults: [], stop: async () => {} };
  let going = true;
  const timed = async (ask: ReturnType<Client["send"]>, status: number) => {
    const from = performance.now();
    const answer = await ask;
    load.slowest = Math.max(load.slowest, performance.now() - from);
    load.answers += 1;
    if (answer.status !== status || answer.json.errors) load.faults.push(`${answer.status} ${answer.text}`);
    await wait(PAUSE);
    return answer.json;
  };
  const run = async () => {
    for (let n = 0; going; n++) {
      const number = `${name}-${n}`;
      const { id } = await timed(client.form("POST", "/v1/kyc", kycFields("customer", number)), 201);
      await timed(client.form("PUT", `/v1/kyc/${id}`, { verification_status: "verified" }), 200);
      const read = await timed(client.graphql(`{ kyc(id: "${id}") { documentNumber version } }`), 200);
      if (read.data?.kyc?.documentNumber !== number) load.faults.push(JSON.stringify(read));
      await timed(client.send("GET", "/v1/kyc?customer_id=customer&limit=5"), 200);
      await timed(client.graphql(`mutation { deleteKyc(input: { id: "${id}" }) { deletedId } }`), 200);
    }
  };
  const ended = run().catch((error) => load.faults.push(String(error)));
  load.stop = async () => {
    going = false;
    await ended;
  };
  return load;
}

async function gatewayWithRecords() {
  const env = await freshEnv("a real database");
  const url = env.DATABASE_URL ?? "";
  const gateway = await startGateway(env);
  const client = createClient(gateway.url, await fullToken(env));
  const sql = postgres(url, { onnotice: () => {} });
  later(() => sql.end({ timeout: 1 }));
  await sql`insert into kycs
    select 'other', lpad(g::text, 16, '0'), 'c' || g % 90, 'pending', 'visa', 'N' || g, now(), now(), 1
    from generate_series(1, ${ROWS}::int) g`;
  return { env, url, client, sql };
}

test("the gateway of the previous release answers every request while the next release's migrations run, and after them", async () => {
  const { env, url, client } = await gatewayWithRecords();
  const loads = [1, 2, 3].map((n) => startLoad(client, `load-${n}`));
  await wait(1000);
  await Promise.all([1, 2, 3].map(() => migrate({ url }, future)));
  expect((await client.send("GET", "/ready")).status).toBe(200);
  await wait(1000);
  for (const load of loads) {
    await load.stop();
    expect(load.faults).toEqual([]);
    expect(load.answers).toBeGreaterThan(20);
    expect(load.slowest).toBeLessThan(LONGEST_WAIT);
  }
  expect((await client.send("GET", "/v1/kyc")).json.data).toEqual([]);
  // It starts again on the next release's tables, too.
  const again = await startGateway(env);
  expect((await createClient(again.url, null).send("GET", "/ready")).status).toBe(200);
});

test.concurrent("the gateway of the previous release waits no longer than the bound for migrations that wait for others, which fail in bounded time and leave nothing", async () => {
  const { url, client, sql } = await gatewayWithRecords();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const holder = sql.begin(async (tx) => {
    await tx`select 1 from kycs limit 1`;
    await released;
  });
  const load = startLoad(client, "load");
  const from = performance.now();
  await expect(migrate({ url }, future)).rejects.toThrow("did not get its locks");
  expect(performance.now() - from).toBeLessThan(60_000);
  const [row] = await sql`select to_regclass('notes') is null as untouched`;
  expect(row?.untouched).toBe(true);
  release();
  await holder;
  await migrate({ url }, future);
  await load.stop();
  expect(load.faults).toEqual([]);
  expect(load.answers).toBeGreaterThan(100);
  expect(load.slowest).toBeLessThan(LONGEST_WAIT);
});

test.concurrent("migrate --check tells what is pending and exits with 1, and with 0 where nothing is", async () => {
  const env = await emptyEnv();
  const names = ownMigrations().map(({ name }) => name);
  const before = await runCli(["migrate", "--check"], env);
  expect(before.code).toBe(1);
  for (const name of names) expect(before.stdout).toContain(`migration ${name}\n`);
  const json = await runCli(["migrate", "--check", "--json"], env);
  expect(json.code).toBe(1);
  expect(JSON.parse(json.stdout).migrations).toEqual(names);

  expect(await runCli(["migrate"], env)).toMatchObject({ code: 0 });
  expect(await runCli(["migrate", "--check"], env)).toMatchObject({ code: 0, stdout: "nothing pending\n" });
  const after = await runCli(["migrate", "--check", "--json"], env);
  expect(JSON.parse(after.stdout)).toEqual({ migrations: [], indexes: [], obsolete: [] });
});

test.concurrent("migrate --check makes no embedded database where there is none", async () => {
  const env = { DATA_DIR: `${await temporaryFolder()}/data` };
  expect(await runCli(["migrate", "--check"], env)).toMatchObject({ code: 1 });
  expect(existsSync(env.DATA_DIR)).toBe(false);
  await runCli(["migrate"], env);
  expect(await runCli(["migrate", "--check"], env)).toMatchObject({ code: 0, stdout: "nothing pending\n" });
});
