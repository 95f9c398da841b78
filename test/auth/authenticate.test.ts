import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createAuthenticator } from "../../src/auth/authenticate.ts";
import { mintToken } from "../../src/auth/token-secret.ts";
import { issueToken, listTokens, revokeToken } from "../../src/auth/tokens.ts";
import { parseKeys } from "../../src/sealing/key-list.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { createTestDatabase } from "../support/database.ts";
import { newKey } from "../support/keys.ts";

const keys = new Keyring(parseKeys([newKey("test")]).keys);
let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const issue = (name: string, expiresAt: number | null = null) =>
  issueToken(
    database.db,
    keys,
    {
      accountId: "acme",
      name,
      scopes: ["kyc:read"],
      expiresAt,
      now: Date.now(),
    },
    null,
  );
const idOf = async (name: string) =>
  (await listTokens(database.db, keys)).find((token) => token.name === name)?.id as string;

test("a good token names its account, its id, its name and its scopes; no header names nobody", async () => {
  const authenticate = createAuthenticator(database.db, keys, Date.now);
  const token = await issue("good");
  expect(await authenticate(`Bearer ${token}`)).toEqual({
    accountId: "acme",
    tokenId: await idOf("good"),
    tokenName: "good",
    scopes: ["kyc:read"],
    expiresAt: null,
  });
  expect(await authenticate(`bearer  ${token}`)).toMatchObject({ accountId: "acme" });
  expect(await authenticate(undefined)).toBeNull();
});

test("headers that are malformed and tokens that nobody knows are refused", async () => {
  const authenticate = createAuthenticator(database.db, keys, Date.now);
  const token = await issue("known");
  for (const header of [
    "",
    "Bearer",
    "Bearer ",
    token,
    `Basic ${token}`,
    `Bearer ${token}x`,
    `Bearer ${mintToken()}`,
  ]) {
    await expect(authenticate(header), header).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  }
});

test("a token is refused from the millisecond in which it expires, however often it was used before", async () => {
  let now = 1_800_000_000_000;
  const authenticate = createAuthenticator(database.db, keys, () => now);
  const header = `Bearer ${await issue("short", now + 1000)}`;
  now += 999;
  expect(await authenticate(header)).not.toBeNull();
  now += 1;
  await expect(authenticate(header)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
});

test("a token that is in use is refused within a second of being revoked, on every replica", async () => {
  const replicas = [
    createAuthenticator(database.db, keys, Date.now),
    createAuthenticator(database.db, keys, Date.now),
  ];
  const header = `Bearer ${await issue("revoked")}`;
  for (const authenticate of replicas) await authenticate(header);
  await revokeToken(database.db, keys, await idOf("revoked"), Date.now(), null);
  await wait(1000);
  for (const authenticate of replicas) {
    await expect(authenticate(header)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  }
});

test("a token works as soon as it is made, even if it was asked for before", async () => {
  const authenticate = createAuthenticator(database.db, keys, Date.now);
  const header = `Bearer ${await issue("early")}`;
  await database.db.execute("update tokens set hash = 'x' || hash where name = 'early'");
  await expect(authenticate(header)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  await database.db.execute("update tokens set hash = substr(hash, 2) where name = 'early'");
  expect(await authenticate(header)).not.toBeNull();
});

test("only a hash of a token is stored", async () => {
  const token = await issue("hashed");
  const rows = await database.db.execute("select t::text as row from tokens t");
  expect(rows.length).toBeGreaterThan(0);
  expect(JSON.stringify(rows)).not.toContain(token.slice(6));
});

test("revoking is safe to repeat, and reports if there is no such token", async () => {
  await issue("twice");
  const id = await idOf("twice");
  expect(await revokeToken(database.db, keys, id, 1000, null)).toBe(true);
  expect(await revokeToken(database.db, keys, id, 2000, null)).toBe(true);
  expect((await listTokens(database.db, keys)).find((token) => token.id === id)?.revokedAt).toBe(1000);
  expect(await revokeToken(database.db, keys, "tok_nobody", 1000, null)).toBe(false);
});
