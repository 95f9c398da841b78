import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureDevToken } from "../../src/auth/dev-token.ts";
import { SCOPES, type Scope } from "../../src/auth/scopes.ts";
import { issueToken, listTokens, revokeToken } from "../../src/auth/tokens.ts";
import { parseKeys } from "../../src/sealing/key-list.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { createTestDatabase } from "../support/database.ts";
import { newKey } from "../support/keys.ts";

const keys = new Keyring(parseKeys([newKey("test")]).keys);
let database: Awaited<ReturnType<typeof createTestDatabase>>;
let folder: string;
beforeAll(async () => {
  database = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "kyc-dev-token-"));
});
afterAll(async () => {
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});

const EARLIER: Scope[] = ["kyc:read", "kyc:write", "kyc:delete", "audit:read"];
const issue = (name: string) =>
  issueToken(
    database.db,
    keys,
    {
      accountId: "demo",
      name,
      scopes: EARLIER,
      expiresAt: null,
      now: Date.now(),
    },
    null,
  );
const scopesOfAll = async () => (await listTokens(database.db, keys, "demo")).map((token) => token.scopes);

test("a first start makes a token with every scope, for its owner alone", async () => {
  const file = join(folder, "first");
  const made = await ensureDevToken(database.db, keys, file, Date.now(), null);
  expect(made).toBe((await readFile(file, "utf8")).trim());
  expect(((await stat(file)).mode & 0o777).toString(8)).toBe("600");
  expect(await scopesOfAll()).toEqual([SCOPES]);
});

test("a token of an earlier release is kept and sees numbers, once; other tokens are left as they are", async () => {
  const file = join(folder, "earlier");
  const secret = await issue("development");
  for (const name of ["development", "of an operator"]) await issue(name);
  await writeFile(file, `${secret}\n`);
  for (let start = 0; start < 2; start += 1)
    expect(await ensureDevToken(database.db, keys, file, Date.now(), null)).toBe(secret);
  expect((await readFile(file, "utf8")).trim()).toBe(secret);
  const scopes = await scopesOfAll();
  expect(scopes).toContainEqual([...EARLIER, "kyc:pii", "kyc:hold", "webhooks:manage"]);
  expect(scopes.filter((some) => !some.includes("kyc:pii"))).toEqual([EARLIER, EARLIER]);
});

test("a token that was revoked stays so, and is reported", async () => {
  const file = join(folder, "revoked");
  expect(await ensureDevToken(database.db, keys, file, Date.now(), null)).not.toBeNull();
  const newest = (await listTokens(database.db, keys, "demo")).at(-1);
  await revokeToken(database.db, keys, String(newest?.id), Date.now(), null);
  expect(await ensureDevToken(database.db, keys, file, Date.now(), null)).toBeNull();
});
