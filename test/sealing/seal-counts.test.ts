import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { parseKeys } from "../../src/sealing/key-list.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { listRegisteredKeys, registerNewestKey } from "../../src/sealing/registry.ts";
import { addSealCounts, countSeals, countSealsAhead, MANY_SEALS } from "../../src/sealing/seal-counts.ts";
import { createTestDatabase } from "../support/database.ts";
import { newKey } from "../support/keys.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let replicas: [Keyring, Keyring];
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(async () => {
  await database.db.execute("delete from encryption_keys");
  const { keys } = parseKeys([newKey("2026")]);
  replicas = [new Keyring(keys), new Keyring(keys)];
  await registerNewestKey(database.db, Date.now(), async () => replicas[0], null);
});

const seal = (keys: Keyring, count: number) => {
  for (let n = 0; n < count; n++) keys.seal("text", "place");
};
const counted = async () => (await listRegisteredKeys(database.db))[0]?.seals;

test("the database counts what all replicas seal under a key, once", async () => {
  const [one, other] = replicas;
  seal(one, 30);
  seal(other, 12);
  expect(await addSealCounts(database.db, one)).toEqual(new Map([["2026", 30]]));
  expect(await addSealCounts(database.db, other)).toEqual(new Map([["2026", 42]]));
  expect(await addSealCounts(database.db, one)).toEqual(new Map());
  // To open costs no nonce.
  other.open(other.seal("text", "place"), "place");
  await addSealCounts(database.db, other);
  expect(await counted()).toBe(43);
});

test("what is sealed while a count is added is in the next one", async () => {
  const [one] = replicas;
  seal(one, 5);
  const adding = addSealCounts(database.db, one);
  seal(one, 7);
  await adding;
  await addSealCounts(database.db, one);
  expect(await counted()).toBe(12);
});

test("a process that counts ahead and is killed has counted at least what it has sealed, and otherwise exactly that", async () => {
  const [killed, ended] = replicas;
  for (let batch = 0; batch < 30; batch++) {
    await countSealsAhead(database.db, killed, 500);
    seal(killed, 500);
    const count = (await counted()) ?? 0;
    expect(count).toBeGreaterThanOrEqual(500 * (batch + 1));
    expect(count).toBeLessThan(500 * (batch + 1) + 11_000);
  }
  const before = (await counted()) ?? 0;
  await countSealsAhead(database.db, ended, 500);
  seal(ended, 3);
  await addSealCounts(database.db, ended);
  expect(await counted()).toBe(before + 3);
});

test("a gateway that stops adds its count, and reports a key once half of what it may seal is reached", async () => {
  const [one, other] = replicas;
  const many: [string, number][] = [];
  const failures: unknown[] = [];
  const start = (keys: Keyring) =>
    countSeals(database.db, keys, {
      onMany: (key, seals) => many.push([key, seals]),
      onFailure: (error) => failures.push(error),
    });
  await database.db.execute(`update encryption_keys set seals = ${MANY_SEALS - 2}`);
  const stop = start(one);
  seal(one, 1);
  await stop();
  expect(many).toEqual([]);
  const stopOther = start(other);
  seal(other, 1);
  await stopOther();
  expect(many).toEqual([["2026", MANY_SEALS]]);
  expect(failures).toEqual([]);
  expect(await counted()).toBe(MANY_SEALS);
});
