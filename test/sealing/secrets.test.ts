import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openSignInNames } from "../../src/auth/sign-in-name.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { openSecret, sealedSecrets } from "../../src/sealing/secrets.ts";
import { createTestDatabase } from "../support/database.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());
beforeEach(async () => {
  await database.db.execute("delete from secrets");
});

const key = (id: string) => ({ id, secret: randomBytes(32) });
const [older, newer] = [key("2025"), key("2026")];
const both = new Keyring([newer, older]);
const open = (keys: Keyring, name = "test") => openSecret(database.db, keys, name);

test("gateways that start at once have one secret, of 32 random bytes, for each name", async () => {
  const opened = await Promise.all(Array.from({ length: 12 }, () => open(new Keyring([older]))));
  expect(new Set(opened.map((secret) => secret.toString("hex"))).size).toBe(1);
  expect(opened[0]).toHaveLength(32);
  expect(await open(both, "another")).not.toEqual(opened[0]);
  expect(await open(both)).toEqual(opened[0]);
});

test("a secret stays the same through a rotation, after which the old key is not needed", async () => {
  const secret = await open(new Keyring([older]));
  expect(await sealedSecrets.isSealedUnder(database.db, "2025")).toBe(true);
  expect(await sealedSecrets.reseal(database.db, both, () => {})).toEqual({ resealed: 1, unreadable: [] });
  expect(await sealedSecrets.countByKey(database.db)).toEqual(new Map([["2026", 1]]));
  expect(await open(new Keyring([newer]))).toEqual(secret);
});

test("a secret that was changed, or moved to another name, is not taken, and is listed", async () => {
  await open(both, "one");
  await open(both, "two");
  await database.db.execute(
    "update secrets set sealed = (select sealed from secrets where name = 'one') where name = 'two'",
  );
  await expect(open(both, "two")).rejects.toThrow("can't be opened");
  expect(await sealedSecrets.check(database.db, both, () => {})).toMatchObject([
    { kind: "secret", account: null, id: "two" },
  ]);
});

test("a sign-in has a name that nobody can work out without the secret, and one for each issuer and subject", async () => {
  const name = await openSignInNames(database.db, both);
  const again = await openSignInNames(database.db, both);
  const pairs = [
    ["https://a.example", "ann@acme.example"],
    ["https://b.example", "ann@acme.example"],
    ["https://a.example", "bob@acme.example"],
    ["https://a.example ann@acme.example", ""],
  ] as const;
  const names = pairs.map(([issuer, subject]) => name(issuer, subject));
  expect(new Set(names).size).toBe(pairs.length);
  for (const one of names) expect(one).toMatch(/^jwt_[0-9a-f]{16}$/);
  expect(pairs.map(([issuer, subject]) => again(issuer, subject))).toEqual(names);
  await database.db.execute("delete from secrets");
  expect((await openSignInNames(database.db, both))(...pairs[0])).not.toBe(names[0]);
});
