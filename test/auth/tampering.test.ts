import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { SCOPES } from "../../src/auth/scopes.ts";
import { tokenMacs } from "../../src/auth/token-macs.ts";
import { hashToken, mintToken } from "../../src/auth/token-secret.ts";
import { issueToken, listTokens, revokeToken } from "../../src/auth/tokens.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { createTestApp, type TestApp } from "../support/app.ts";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());
beforeEach(async () => {
  await gateway.db.execute("delete from tokens");
});

const statusOf = async (token: string) => (await gateway.rest(token, "GET", "/v1/kyc?limit=1")).statusCode;
const later = Date.now() + 3_600_000;
const check = () => tokenMacs.check(gateway.db, gateway.keys, () => {});
const idOf = async (token: string) =>
  String((await gateway.db.execute("select id from tokens where hash = $1", [hashToken(token)]))[0]?.id);

/** A row as somebody without a key writes it: all that releases up to 0.2 had. */
async function insertRow(id: string, mac: string | null = null): Promise<string> {
  const secret = mintToken();
  await gateway.db.execute(
    `insert into tokens (account_id, id, name, hash, scopes, created_at, mac)
     values ('acme', $1, 'planted', $2, array['kyc:read', 'kyc:pii'], now(), $3)`,
    [id, hashToken(secret), mac],
  );
  return secret;
}

test("a row that was added to the table opens nothing, whatever its MAC", async () => {
  const good = await gateway.token("acme");
  const [row] = await gateway.db.execute<{ mac: string }>("select mac from tokens");
  const macs = [
    null,
    "",
    "FORGED",
    "test.FORGED",
    row?.mac ?? "",
    gateway.keys.authenticate("something else"),
  ];
  for (const [n, mac] of macs.entries()) {
    expect(await statusOf(await insertRow(`tok_${n}`, mac)), String(mac)).toBe(401);
  }
  expect(await statusOf(await insertRow("tok_unknown", `unknown.${"A".repeat(43)}`))).toBe(503);
  expect(await statusOf(good)).toBe(200);
  expect(await check()).toHaveLength(macs.length + 1);
  expect((await check()).map(({ id }) => id)).not.toContain(await idOf(good));
  const listed = await listTokens(gateway.db, gateway.keys, "acme");
  expect(listed.filter(({ isAuthentic }) => isAuthentic).map(({ id }) => id)).toEqual([await idOf(good)]);
});

test.each([
  ["account_id", "'globex'"],
  ["id", "'tok_other'"],
  ["name", "'another name'"],
  ["hash", "encode(sha256('kycgw_0'), 'hex')"],
  ["scopes", "scopes || array['kyc:pii']"],
  ["scopes", "array['kyc:pii', 'kyc:read']"],
  ["created_at", "created_at - interval '1 ms'"],
  ["expires_at", "null"],
  ["expires_at", "expires_at + interval '1 ms'"],
  ["expires_at", "'infinity'"],
  ["revoked_at", "now()"],
  ["mac", "null"],
  ["mac", "substr(mac, 1, length(mac) - 1)"],
  ["mac", "mac || 'A'"],
] as const)("a token whose %s was set to %s in the table opens nothing", async (column, value) => {
  const scopes = ["kyc:read"] as const;
  const token = await gateway.token("acme", scopes, later);
  await gateway.db.execute(`update tokens set ${column} = ${value}`);
  expect(await statusOf(token)).toBe(401);
  expect(await check()).toHaveLength(1);
});

test("a token that was revoked can't be brought back by an update", async () => {
  const token = await gateway.token("acme", SCOPES, later);
  expect(await statusOf(token)).toBe(200);
  await revokeToken(gateway.db, gateway.keys, await idOf(token), Date.now(), null);
  await expect.poll(() => statusOf(token)).toBe(401);
  await gateway.db.execute("update tokens set revoked_at = null");
  expect(await statusOf(token)).toBe(401);
});

test("a planted token that is revoked troubles no check any more, and still opens nothing", async () => {
  const token = await insertRow("tok_planted");
  await revokeToken(gateway.db, gateway.keys, "tok_planted", Date.now(), null);
  expect(await statusOf(token)).toBe(401);
  expect(await check()).toEqual([]);
});

test("tokens of an earlier release are authentic from the first start of this one, and none that comes later", async () => {
  await gateway.db.execute("delete from milestones where name = 'tokens_authentic'");
  const keys = new Keyring([{ id: "own", secret: randomBytes(32) }]);
  const forged = "test.FORGED";
  await insertRow("tok_before");
  await insertRow("tok_forged", forged);
  const warnings: string[] = [];
  const start = { isFirst: false, now: Date.now(), onWarning: (text: string) => warnings.push(text) };
  await tokenMacs.settle?.(gateway.db, keys, start);
  const again = new Keyring([{ id: "own", secret: randomBytes(32) }]);
  again.reached.add("tokens_authentic");
  await insertRow("tok_after");
  await tokenMacs.settle?.(gateway.db, again, start);
  const macs = await gateway.db.execute("select id, split_part(mac, '.', 1) as key from tokens order by id");
  expect(macs).toEqual([
    { id: "tok_after", key: null },
    { id: "tok_before", key: "own" },
    { id: "tok_forged", key: "test" },
  ]);
  const listed = await listTokens(gateway.db, keys);
  expect(listed.filter(({ isAuthentic }) => isAuthentic).map(({ id }) => id)).toEqual(["tok_before"]);
  expect(warnings).toEqual([expect.stringMatching(/^1 tokens/)]);
});

test("a rotation gives tokens MACs under the newest key, and none to a row that has no good one", async () => {
  const [older, newer] = [
    { id: "old", secret: randomBytes(32) },
    { id: "new", secret: randomBytes(32) },
  ];
  const issue = { accountId: "acme", name: "n", scopes: SCOPES, expiresAt: null, now: Date.now() };
  const before = new Keyring([older]);
  for (let n = 0; n < 520; n++) await issueToken(gateway.db, before, issue, null);
  await insertRow("tok_planted");
  const both = new Keyring([newer, older]);
  const steps: number[] = [];
  const { resealed, unreadable } = await tokenMacs.reseal(gateway.db, both, (seen) => steps.push(seen));
  expect({ resealed, steps }).toEqual({ resealed: 520, steps: [500, 21] });
  expect(unreadable).toEqual([
    { kind: "token", account: "acme", id: "tok_planted", why: expect.stringContaining("no MAC") },
  ]);
  expect(await tokenMacs.countByKey(gateway.db)).toEqual(
    new Map<string | null, number>([
      ["new", 520],
      [null, 1],
    ]),
  );
  expect(await tokenMacs.isSealedUnder(gateway.db, "old")).toBe(false);
  const listed = await listTokens(gateway.db, new Keyring([newer]));
  expect(listed.filter(({ isAuthentic }) => isAuthentic)).toHaveLength(520);
});

test("tokens with an expiry that is no whole millisecond, or a name in any script, work", async () => {
  const issue = { accountId: "acme", scopes: SCOPES, now: Date.now() };
  for (const name of ["Straße 😀 護照", "e\u0301 and é", 'a "quoted" \\ name']) {
    const token = await issueToken(
      gateway.db,
      gateway.keys,
      { ...issue, name, expiresAt: later + 0.7 },
      null,
    );
    expect(await statusOf(token)).toBe(200);
  }
});
