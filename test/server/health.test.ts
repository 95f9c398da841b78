import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

const ready = () => gateway.app.inject({ url: "/ready" });

test("however many ask whether the gateway is ready, the database is asked once", async () => {
  await gateway.db.transaction(async (tx) => {
    await tx.execute("lock table drizzle.__drizzle_migrations in access exclusive mode");
    const many = Array.from({ length: 50 }, ready);
    await wait(200);
    const { inUse, waiting } = gateway.db.usage();
    // The transaction is the other one.
    expect(inUse + waiting).toBe(2);
    for (const answer of await Promise.all(many)) {
      expect(answer.statusCode).toBe(503);
      expect(answer.json()).toEqual({ status: "unavailable" });
      expect(answer.headers).toMatchObject({ "retry-after": "1", "cache-control": "no-store" });
    }
  });
});

test("what was found is forgotten within a second", async () => {
  await expect.poll(async () => (await ready()).statusCode, { timeout: 5000 }).toBe(200);
  await gateway.db.execute("alter table drizzle.__drizzle_migrations rename to gone");
  await wait(1000);
  expect((await ready()).statusCode).toBe(503);
  await gateway.db.execute("alter table drizzle.gone rename to __drizzle_migrations");
  await wait(1000);
  expect((await ready()).statusCode).toBe(200);
});

test("a gateway that drains says so at once, and when to ask again", async () => {
  expect((await ready()).json()).toEqual({ status: "ready" });
  gateway.draining = true;
  const answer = await ready();
  gateway.draining = false;
  expect(answer.statusCode).toBe(503);
  expect(answer.headers["retry-after"]).toBe("1");
  expect(answer.json()).toEqual({ status: "draining" });
});
