import { afterAll, beforeAll, expect, test } from "vitest";
import { startSweep, sweep } from "../../src/idempotency/sweep.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { aCreate, write } from "../support/once.ts";

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

/** Keys of many accounts, one each second from so many hours ago on, by the database's clock. */
const addKeys = (count: number, name: string, hoursAgo: number) =>
  gateway.db.execute(
    `insert into idempotency_keys (account_id, key_hash, kyc_id, created_at)
     select $1 || (n % 7), $1 || n, n, now() - $2 * interval '1 hour' + n * interval '1 second'
     from generate_series(1, $3::int) n`,
    [name, hoursAgo, count],
  );

test("removes every key that is a day old, in as many batches as it takes, and no other", async () => {
  const token = await gateway.token("acme");
  const kept = await write(gateway, "rest", token, aCreate("P-1"), "key");
  await addKeys(2500, "old", 30);
  await addKeys(7, "recent", 23);
  await sweep(gateway.db, () => false);
  expect(await countKeys()).toBe(8);
  expect(await write(gateway, "rest", token, aCreate("P-1"), "key")).toEqual({ ...kept, replayed: true });
});

test("two replicas that sweep at once do not wait for one another, and leave nothing", async () => {
  await gateway.db.execute("delete from idempotency_keys");
  await addKeys(3000, "shared", 30);
  await Promise.all([sweep(gateway.db, () => false), sweep(gateway.db, () => false)]);
  await sweep(gateway.db, () => false);
  expect(await countKeys()).toBe(0);
});

test("the first sweep comes with the start, and the end waits for it", async () => {
  await addKeys(10, "left", 30);
  const stop = startSweep({ db: gateway.db, log: silent });
  await expect.poll(countKeys, { timeout: 10_000 }).toBe(0);
  await stop();
});

test("a sweep that fails is reported, and nothing else fails with it", async () => {
  const told: string[] = [];
  const log = { ...silent, warn: (_fields: unknown, message: string) => void told.push(message) };
  await gateway.db.execute("alter table idempotency_keys rename to hidden");
  const stop = startSweep({ db: gateway.db, log: log as typeof silent });
  await expect.poll(() => told).toEqual(["old idempotency keys could not be removed"]);
  await stop();
  await gateway.db.execute("alter table hidden rename to idempotency_keys");
});
