import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makePageKey, PAGE_KEY_LIFETIME_MS } from "../../src/auth/page-keys.ts";
import { SCOPES } from "../../src/auth/scopes.ts";
import { issueToken, listTokens, revokeToken } from "../../src/auth/tokens.ts";
import { isLoopbackHost } from "../../src/server/development-token.ts";
import { createTestApp, type TestApp } from "../support/app.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp({ CORS_ORIGINS: "https://app.example.com" }, undefined, async (db, keys) => {
    const options = {
      ...{ accountId: "demo", name: "development", scopes: SCOPES },
      ...{ expiresAt: null, now: Date.now() },
    };
    token = await issueToken(db, keys, options, null);
    return token;
  });
});
afterAll(() => gateway.close());

const newKey = () => makePageKey(token, Date.now());
const exchange = (
  payload: string,
  options: { remoteAddress?: string; headers?: Record<string, string> } = {},
) => gateway.app.inject({ method: "POST", url: "/development-token", payload, ...options });

test.each(["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"])(
  "a key from %s is exchanged for the token, once",
  async (remoteAddress) => {
    const key = newKey();
    const first = await exchange(key, { remoteAddress });
    expect([first.statusCode, first.json(), first.headers["cache-control"]]).toEqual([
      200,
      { token },
      "no-store",
    ]);
    const second = await exchange(key, { remoteAddress });
    expect([second.statusCode, second.json().error.code]).toEqual([403, "key_refused"]);
  },
);

test.each(["10.0.0.7", "::ffff:192.168.0.1", "2001:db8::1", "128.0.0.1"])(
  "a key from another machine (%s) is refused, and stays good",
  async (remoteAddress) => {
    const key = newKey();
    const headers = { "x-forwarded-for": "127.0.0.1", forwarded: "for=127.0.0.1" };
    expect((await exchange(key, { remoteAddress, headers })).statusCode).toBe(403);
    expect((await exchange(key)).statusCode).toBe(200);
  },
);

test("no header replaces the key: a relay on this machine can forge all of them", async () => {
  const headers = {
    ...{ host: "localhost:4000", accept: "text/html", "sec-fetch-site": "none" },
    ...{ "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-user": "?1" },
  };
  for (const url of ["/", "/graphql", "/docs"]) {
    const page = await gateway.app.inject({ url, headers });
    expect([page.statusCode, page.body.includes("kycgw_")]).toEqual([200, false]);
  }
  for (const body of ["", "null", "{}", token, `"${newKey()}"`]) {
    expect((await exchange(body, { headers })).statusCode).toBe(403);
  }
});

test("a key from before an hour ago is refused with the command that makes new links", async () => {
  const key = newKey();
  gateway.clock.now = Date.now() + PAGE_KEY_LIFETIME_MS + 1000;
  const { statusCode, json } = await exchange(key);
  gateway.clock.now = undefined;
  expect([statusCode, json().error.message]).toEqual([403, expect.stringContaining("npx kyc-gateway link")]);
});

test("other methods on the address are refused", async () => {
  for (const method of ["GET", "PUT", "DELETE"] as const) {
    expect((await gateway.app.inject({ method, url: "/development-token" })).statusCode).toBe(405);
  }
});

test("on a real connection from another address than loopback a key is refused", async () => {
  const other = Object.values(networkInterfaces())
    .flat()
    .find((address) => address && !address.internal && address.family === "IPv4")?.address;
  // Some machines have no network.
  if (other === undefined) return;
  const { port } = new URL(await gateway.app.listen({ port: 0, host: other }));
  const answer = await fetch(`http://${other}:${port}/development-token`, { method: "POST", body: newKey() });
  expect(answer.status).toBe(403);
});

test("neither tokens nor keys are in the log", async () => {
  const key = newKey();
  await exchange(key);
  await exchange(key);
  expect(gateway.logged()).not.toContain("kycgw_");
  expect(gateway.logged()).not.toContain(key.slice(-43));
});

test("a gateway without a token for development has no such address", async () => {
  const other = await createTestApp();
  try {
    const answer = await other.app.inject({ method: "POST", url: "/development-token", payload: newKey() });
    expect(answer.statusCode).toBe(404);
  } finally {
    await other.close();
  }
});

test("once the token is revoked, keys are exchanged for nothing", async () => {
  const [record] = await listTokens(gateway.db, gateway.keys, "demo");
  await revokeToken(gateway.db, gateway.keys, String(record?.id), Date.now(), null);
  await expect.poll(async () => (await exchange(newKey())).statusCode, { timeout: 5000 }).toBe(401);
});

test.each([
  ["127.0.0.1", true],
  ["127.0.0.53", true],
  ["::1", true],
  ["localhost", true],
  ["0.0.0.0", false],
  ["::", false],
  ["127.evil.example", false],
  ["192.168.0.1", false],
])("to listen at %s is to listen to this machine alone: %s", (host, expected) => {
  expect(isLoopbackHost(host)).toBe(expected);
});
