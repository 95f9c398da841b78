import { afterAll, beforeAll, expect, test } from "vitest";
import { startSweep, sweep } from "../../src/idempotency/sweep.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { aCreate, write } from "../support/once.ts";

const HOUR = 60 * 60 * 1000;
const START = Date.parse("2026-03-01T12:00:00Z");
const silent = { warn: () => {}, error: () => {} };

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

async function countKeys(): Promise<number> {
  const [row] = await gateway.db.execute<{ keys: number }>(
    "select count(*)::int as keys from idempotency_keys",
  );
  return row?.keys ?? 0;
}

/** Keys of many accounts, one each second from the start on. */
const addKeys = (count: number, name: string) =>
  gateway.db.execute(
    `insert into idempotency_keys (account_id, key_hash, kyc_id, created_at)
     select $1 || (n % 7), $1 || n, n, $2::timestamptz + n * interval '1 second' from generate_series(1, $3::int) n`,
    [name, new Date(START).toISOString(), count],
  );

test("removes every key that is a day old, in as many batches as it takes, and no other", async () => {
  const token = await gateway.token("acme");
  gateway.clock.now = START + 30 * HOUR;
  const kept = await write(gateway, "rest", token, aCreate("P-1"), "key");
  await addKeys(2500, "old");
  await sweep(
    gateway.db,
    () => START + 24 * HOUR + 1000 * 1000,
    () => false,
  );
  expect(await countKeys()).toBe(1501);
  await sweep(
    gateway.db,
    () => START + 30 * HOUR,
    () => false,
  );
  expect(await countKeys()).toBe(1);
  expect(await write(gateway, "rest", token, aCreate("P-1"), "key")).toEqual({ ...kept, replayed: true });
});

test("two replicas that sweep at once do not wait for one another, and leave nothing", async () => {
  await gateway.db.execute("delete from idempotency_keys");
  await addKeys(3000, "shared");
  const now = () => START + 48 * HOUR;
  await Promise.all([sweep(gateway.db, now, () => false), sweep(gateway.db, now, () => false)]);
  await sweep(gateway.db, now, () => false);
  expect(await countKeys()).toBe(0);
});

test("the first sweep comes with the start, and the end waits for it", async () => {
  await addKeys(10, "left");
  const stop = startSweep({ db: gateway.db, log: silent, now: () => START + 48 * HOUR });
  await expect.poll(countKeys, { timeout: 10_000 }).toBe(0);
  await stop();
});

test("a sweep that fails is told, and nothing else fails with it", async () => {
  const told: string[] = [];
  const log = { ...silent, warn: (_fields: unknown, message: string) => void told.push(message) };
  await gateway.db.execute("alter table idempotency_keys rename to hidden");
  const stop = startSweep({ db: gateway.db, log: log as typeof silent, now: Date.now });
  await expect.poll(() => told).toEqual(["old idempotency keys could not be removed"]);
  await stop();
  await gateway.db.execute("alter table hidden rename to idempotency_keys");
});
