import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tokenMacs } from "../../src/auth/token-macs.ts";
import { sealedResults } from "../../src/idempotency/sealed-results.ts";
import { SEALED_PLACES } from "../../src/sealed-places.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { aCreate, type Write, type WriteAnswer, write } from "../support/once.ts";

const OLD = { id: "old", secret: randomBytes(32) };
const NEW = { id: "new", secret: randomBytes(32) };
const COUNT = 450;

let gateway: TestApp;
/** The same database, with other keys. */
let others: { both: TestApp; newest: TestApp };
let token: string;
beforeAll(async () => {
  const empty = await createTestApp();
  const beside = (...keys: (typeof OLD)[]) => createTestApp({}, { ...empty, keys: new Keyring(keys) });
  gateway = await beside(OLD);
  others = { both: await beside(NEW, OLD), newest: await beside(NEW) };
  token = await gateway.token("acme");
  opened.push(others.newest, others.both, gateway, empty);
});
const opened: TestApp[] = [];
afterAll(async () => {
  for (const app of opened) await app.close();
});

test("the results of the ledger are among what `keys rotate` reseals, and the start looks for", () => {
  expect(SEALED_PLACES).toContain(sealedResults);
});

test("after a rotation the ledger answers without the old key, and knows another request from the first", async () => {
  const made: WriteAnswer[] = [];
  for (let n = 0; n < COUNT; n += 50) {
    const some = Array.from({ length: 50 }, (_, m) =>
      write(gateway, "rest", token, aCreate(`P-${n + m}`), `key ${n + m}`),
    );
    made.push(...(await Promise.all(some)));
  }
  const gone = made[1]?.id ?? "";
  await write(gateway, "rest", token, { operation: "delete", id: gone });
  const missing: Write = { operation: "delete", id: "0000000000000000" };
  const refused = await write(gateway, "rest", token, missing, "missing");
  const again = (app: TestApp, n: number) => write(app, "graphql", token, aCreate(`P-${n}`), `key ${n}`);

  expect(await sealedResults.isSealedUnder(gateway.db, "old")).toBe(true);
  expect(await again(others.both, 0)).toEqual({ ...made[0], replayed: true });
  expect(await again(others.newest, 0)).toMatchObject({ code: "UNAVAILABLE" });

  const steps: number[] = [];
  const both = new Keyring([NEW, OLD]);
  expect(await sealedResults.reseal(gateway.db, both, (seen) => steps.push(seen))).toEqual({
    resealed: COUNT,
    unreadable: [],
  });
  expect(steps).toEqual([200, 200, 50]);
  expect(await sealedResults.countByKey(gateway.db)).toEqual(new Map([["new", COUNT]]));
  expect(await sealedResults.isSealedUnder(gateway.db, "old")).toBe(false);
  expect((await sealedResults.reseal(gateway.db, both, () => {})).resealed).toBe(0);
  await tokenMacs.reseal(gateway.db, both, () => {});

  expect(await again(others.newest, 0)).toMatchObject({ code: "OK", replayed: true, id: made[0]?.id });
  expect(await write(others.newest, "rest", token, aCreate("other"), "key 0")).toMatchObject({
    code: "IDEMPOTENCY_MISMATCH",
  });
  expect(await again(others.newest, 1)).toMatchObject({ code: "NOT_FOUND", replayed: false });
  expect(await write(others.newest, "graphql", token, missing, "missing")).toEqual({
    ...refused,
    replayed: true,
  });
});

test("a result that was changed is reported, and the others are resealed nevertheless", async () => {
  await gateway.db.execute(
    "update idempotency_keys set sealed_result = 'new.AAAA' where kyc_id = (select min(kyc_id) from idempotency_keys where sealed_result is not null)",
  );
  const newer = new Keyring([{ id: "newer", secret: randomBytes(32) }, NEW]);
  const { resealed, unreadable } = await sealedResults.reseal(gateway.db, newer, () => {});
  expect(resealed).toBe(COUNT - 1);
  expect(unreadable).toEqual([
    { kind: "answer", account: "acme", id: expect.any(String), why: "a sealed text is cut short" },
  ]);
});
