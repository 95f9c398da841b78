import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureDevToken } from "../../src/auth/dev-token.ts";
import { SCOPES, type Scope } from "../../src/auth/scopes.ts";
import { issueToken, listTokens, revokeToken } from "../../src/auth/tokens.ts";
import { createTestDatabase } from "../support/database.ts";

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
const issue = (accountId: string, name: string) =>
  issueToken(database.db, { accountId, name, scopes: EARLIER, expiresAt: null, now: Date.now() });
const scopesOf = async (accountId: string, name: string) =>
  (await listTokens(database.db, accountId)).find((token) => token.name === name)?.scopes;

test("a first start makes a token with every scope, for its owner alone", async () => {
  const file = join(folder, "first");
  const made = await ensureDevToken(database.db, file, Date.now());
  expect(made).toBe((await readFile(file, "utf8")).trim());
  expect(((await stat(file)).mode & 0o777).toString(8)).toBe("600");
  expect(await scopesOf("demo", "development")).toEqual(SCOPES);
});

test("a token of an earlier release is kept and sees numbers, once; other tokens are left as they are", async () => {
  const file = join(folder, "earlier");
  const secret = await issue("demo", "development");
  await issue("demo", "of an operator");
  await issue("acme", "development");
  await writeFile(file, `${secret}\n`);
  for (let start = 0; start < 2; start += 1)
    expect(await ensureDevToken(database.db, file, Date.now())).toBe(secret);
  expect((await readFile(file, "utf8")).trim()).toBe(secret);
  const all = await listTokens(database.db);
  const scopes = (accountId: string, name: string) =>
    all.filter((token) => token.accountId === accountId && token.name === name).map((token) => token.scopes);
  expect(scopes("demo", "development")).toContainEqual([...EARLIER, "kyc:pii"]);
  expect([...scopes("demo", "of an operator"), ...scopes("acme", "development")]).toEqual([EARLIER, EARLIER]);
});

test("a token that was revoked stays so, and is told", async () => {
  const file = join(folder, "revoked");
  expect(await ensureDevToken(database.db, file, Date.now())).not.toBeNull();
  const newest = (await listTokens(database.db, "demo")).at(-1);
  await revokeToken(database.db, String(newest?.id), Date.now());
  expect(await ensureDevToken(database.db, file, Date.now())).toBeNull();
});
