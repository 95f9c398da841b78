import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { byCommand } from "../../src/administration/record-act.ts";
import { openCheckpoint } from "../../src/ledger/checkpoint.ts";
import { formatVerifier } from "../../src/ledger/note.ts";
import { openLogKeys, rotateSigningKey } from "../../src/ledger/signing-keys.ts";
import { emptyFrontier } from "../../src/ledger/tree.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { readMilestones } from "../../src/sealing/milestones.ts";
import { sealedSecrets } from "../../src/sealing/secrets.ts";
import { createTestDatabase } from "../support/database.ts";
import { signAnyHead } from "../support/ledger.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
const key = (id: string) => ({ id, secret: randomBytes(32) });
const [older, newer] = [key("2025"), key("2026")];
/** A gateway that starts now, with these encryption keys. */
async function start(keys = [newer, older]): Promise<Keyring> {
  const keyring = new Keyring(keys);
  await readMilestones(database.db, keyring);
  return keyring;
}
const open = (keys: Keyring, logName?: string) => openLogKeys({ db: database.db, keys, logName });
const lines = async (keys: Keyring) => {
  const logKeys = await open(keys);
  return logKeys.verifiersOf(logKeys.originOf("acme")).map(formatVerifier);
};

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(() => database.db.execute("delete from secrets; delete from milestones"));

test("gateways that start at once have one key and one name", async () => {
  const rings = await Promise.all(Array.from({ length: 12 }, () => start([older])));
  const keys = await Promise.all(rings.map(lines));
  expect(new Set(keys.flat()).size).toBe(1);
  expect(keys[0]?.[0]).toMatch(/^kyc-gateway\/[0-9a-f]{16}\/acme\+[0-9a-f]{8}\+\S{44}$/);
});

test("the name of a log is the operator's if there is one, and no account has another one's", async () => {
  const keys = await start();
  const named = await open(keys, "kyc.example.com/eu");
  expect(named.originOf("acme")).toBe("kyc.example.com/eu/acme");
  const accounts = ["a", "a:b", "a.b", "A", "a%3Ab"];
  expect(new Set(accounts.map((account) => named.originOf(account))).size).toBe(accounts.length);
  expect(named.originOf("a:b")).toBe("kyc.example.com/eu/a%3Ab");
});

test("after a rotation the new key and the one before sign, and all keys are listed to verify", async () => {
  const keys = await start();
  const head = { accountId: "acme", ...emptyFrontier() };
  const first = await open(keys);
  const origin = first.originOf("acme");
  const old = signAnyHead(first, head);
  expect(await rotateSigningKey(database.db, keys, byCommand())).toBe(2);
  expect(await rotateSigningKey(database.db, keys, byCommand())).toBe(3);
  const now = await open(await start());
  const all = now.verifiersOf(origin);
  expect(all).toHaveLength(3);
  expect(all.map(formatVerifier).at(-1)).toBe(first.verifiersOf(origin).map(formatVerifier)[0]);
  expect(openCheckpoint(old, origin, all).size).toBe(0);
  const [third, second, oldest] = all;
  for (const known of [third, second]) {
    expect(openCheckpoint(signAnyHead(now, head), origin, known ? [known] : []).size).toBe(0);
  }
  expect(() => openCheckpoint(signAnyHead(now, head), origin, oldest ? [oldest] : [])).toThrow(
    "none of the known",
  );
});

test("many rotations are in the order of their numbers, and of two at once one fails or both follow each other", async () => {
  const keys = await start();
  const [first] = await lines(keys);
  for (let n = 2; n <= 11; n++) expect(await rotateSigningKey(database.db, keys, byCommand())).toBe(n);
  expect((await lines(keys)).at(-1)).toBe(first);
  const before = await lines(keys);
  const outcomes = await Promise.allSettled(
    [1, 2, 3].map(() => rotateSigningKey(database.db, keys, byCommand())),
  );
  const made = outcomes.filter(({ status }) => status === "fulfilled").length;
  expect(await lines(keys)).toHaveLength(before.length + made);
  expect((await lines(keys)).slice(made)).toEqual(before);
});

test("a rotation of the encryption keys keeps the keys and the name", async () => {
  const before = await lines(await start([older]));
  expect((await sealedSecrets.reseal(database.db, await start(), () => {})).unreadable).toEqual([]);
  expect(await lines(await start([newer]))).toEqual(before);
});

test("a key that is gone is not replaced until an operator makes a new one", async () => {
  const running = await start();
  await lines(running);
  await database.db.execute("delete from secrets where name like 'ledger key%'");
  await expect(lines(running)).rejects.toThrow("no longer in the database");
  await expect(lines(await start())).rejects.toThrow("audit key rotate");
  await rotateSigningKey(database.db, running, byCommand());
  expect(await lines(await start())).toHaveLength(1);
});

test("a key that a database writer makes, moves or copies is not taken", async () => {
  const keys = await start();
  await lines(keys);
  await rotateSigningKey(database.db, keys, byCommand());
  const stranger = new Keyring([key("2025")]);
  const forged = [
    stranger.seal(randomBytes(32).toString("base64url"), "secrets ledger key 2"),
    randomBytes(32).toString("base64url"),
  ];
  for (const sealed of forged) {
    await database.db.execute("update secrets set sealed = $1 where name = 'ledger key 2'", [sealed]);
    await expect(lines(keys)).rejects.toThrow();
  }
  await database.db.execute(
    "update secrets set sealed = (select sealed from secrets where name = 'ledger key 1') where name = 'ledger key 2'",
  );
  await expect(lines(keys)).rejects.toThrow("can't be opened");
});
