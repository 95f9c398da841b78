import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { AUDIENCE, type IdentityProvider, startIdentityProvider } from "../support/identity-provider.ts";
import { createRecord } from "../support/records.ts";

const ORIGIN = "https://app.acme.example";

let provider: IdentityProvider;
let gateway: TestApp;
beforeAll(async () => {
  provider = await startIdentityProvider(Date.now);
  gateway = await createTestApp({
    JWT_ISSUER: provider.issuer,
    JWT_AUDIENCE: AUDIENCE,
    JWT_JWKS_URL: provider.jwksUrl,
    CORS_ORIGINS: `${ORIGIN},https://other.acme.example`,
  });
});
afterAll(async () => {
  await gateway.close();
  await provider.close();
});

const LIST = "{ kycs { nodes { id } } }";

test("a JWT opens its account's records on both surfaces, beside the gateway's own tokens", async () => {
  const own = await gateway.token("acme");
  const id = await createRecord(gateway, own);
  await createRecord(gateway, await gateway.token("other"));
  const jwt = await provider.sign();
  for (const token of [own, jwt]) {
    expect((await gateway.graphql(token, LIST)).data.kycs.nodes).toEqual([{ id }]);
    expect((await gateway.rest(token, "GET", "/v1/kyc")).json().data).toMatchObject([{ id }]);
  }
});

test("a JWT may do what its scopes say, on both surfaces", async () => {
  const jwt = await provider.sign({ scope: "openid" });
  expect((await gateway.graphql(jwt, LIST)).errors?.[0]?.extensions.code).toBe("FORBIDDEN");
  expect((await gateway.rest(jwt, "GET", "/v1/kyc")).statusCode).toBe(403);
});

test("an event names who signed in, by the claim that is configured for it, and finds its events", async () => {
  const naming = await createTestApp({
    ...{ JWT_ISSUER: provider.issuer, JWT_AUDIENCE: AUDIENCE, JWT_JWKS_URL: provider.jwksUrl },
    JWT_NAME_CLAIM: "preferred_username",
  });
  try {
    const scope = "kyc:read kyc:write audit:read";
    const ada = await provider.sign({ scope, sub: "ada", preferred_username: "Ada L." });
    const bob = await provider.sign({ scope, sub: "bob" });
    const ids = [await createRecord(naming, ada), await createRecord(naming, bob)];
    const { data } = await naming.graphql(ada, "{ auditEvents { nodes { kycId actor } } }");
    expect(data.auditEvents.nodes).toEqual([
      { kycId: ids[1], actor: "sign-in" },
      { kycId: ids[0], actor: "Ada L." },
    ]);
    const found = (await naming.rest(bob, "GET", "/v1/audit_events?actor=Ada%20L.")).json().data;
    expect(found).toMatchObject([{ kyc_ids: [ids[0]], actor: "Ada L." }]);
    expect(naming.logged()).not.toContain("Ada L.");
  } finally {
    await naming.close();
  }
});

test.each([
  ["has expired", () => provider.sign({ exp: 1 }), 401],
  ["names no account", () => provider.sign({ account: undefined }), 401],
  ["is no JWT", async () => "x", 401],
])("a JWT that %s is refused on both surfaces, in the same words", async (_name, sign, status) => {
  const jwt = await sign();
  const graphql = await gateway.graphql(jwt, "{ __typename }");
  const rest = await gateway.rest(jwt, "GET", "/v1/kyc");
  expect([graphql.status, rest.statusCode]).toEqual([status, status]);
  expect(graphql.headers["www-authenticate"]).toBe('Bearer error="invalid_token"');
  expect(rest.headers["www-authenticate"]).toBe('Bearer error="invalid_token"');
  expect(graphql.errors?.[0]).toMatchObject({
    message: rest.json().error.message,
    extensions: { code: "UNAUTHENTICATED" },
  });
});

test("a JWT whose key can't be had is answered 503 on both surfaces", async () => {
  provider.mood = "failing";
  const fresh = await createTestApp({
    ...{ JWT_ISSUER: provider.issuer, JWT_AUDIENCE: AUDIENCE, JWT_JWKS_URL: provider.jwksUrl },
  });
  try {
    const jwt = await provider.sign();
    const graphql = await fresh.graphql(jwt, LIST);
    const rest = await fresh.rest(jwt, "GET", "/v1/kyc");
    expect([graphql.status, rest.statusCode]).toEqual([503, 503]);
    expect(graphql.errors?.[0]?.extensions.code).toBe("UNAVAILABLE");
    expect(rest.headers["retry-after"]).toBeDefined();
    // The gateway's own tokens need no provider.
    expect((await fresh.rest(await fresh.token("acme"), "GET", "/v1/kyc")).statusCode).toBe(200);
  } finally {
    provider.mood = "well";
    await fresh.close();
  }
});

test("the log knows a JWT's subject by its hash alone", async () => {
  const jwt = await provider.sign({ sub: "somebody@acme.example" });
  await gateway.rest(jwt, "GET", "/v1/kyc");
  expect(gateway.logged()).toMatch(/"token":"jwt_[0-9a-f]{16}"/);
  expect(gateway.logged()).not.toContain("somebody");
  expect(gateway.logged()).not.toContain(jwt.split(".")[1]);
});

test("if no provider is configured, its tokens are refused", async () => {
  const plain = await createTestApp();
  try {
    expect((await plain.rest(await provider.sign(), "GET", "/v1/kyc")).statusCode).toBe(401);
  } finally {
    await plain.close();
  }
});

const preflight = (url: string, method: string, origin: string) =>
  gateway.app.inject({
    method: "OPTIONS",
    url,
    headers: {
      origin,
      "access-control-request-method": method,
      "access-control-request-headers": "authorization,content-type,idempotency-key,if-match,kyc-reason",
    },
  });

test.each([
  ["/graphql", "POST"],
  ["/v1/kyc", "POST"],
  ["/v1/kyc/0000000000000000", "DELETE"],
])(
  "a browser on an allowed origin may ask %s with %s, and asks for leave once a day",
  async (url, method) => {
    const { statusCode, headers } = await preflight(url, method, ORIGIN);
    expect(statusCode).toBe(204);
    expect(headers["access-control-allow-origin"]).toBe(ORIGIN);
    expect(headers["access-control-max-age"]).toBe("86400");
    expect(String(headers["access-control-allow-methods"]).split(", ")).toContain(method);
    expect(headers["access-control-allow-credentials"]).toBeUndefined();
    const allowed = String(headers["access-control-allow-headers"]).toLowerCase().split(/, */);
    for (const name of ["authorization", "content-type", "idempotency-key", "if-match", "kyc-reason"]) {
      expect(allowed).toContain(name);
    }
    expect(String(headers.vary).toLowerCase()).toContain("origin");
  },
);

test("a browser on any other origin may not", async () => {
  const { headers } = await preflight("/graphql", "POST", "https://evil.example");
  expect(headers["access-control-allow-origin"]).not.toBe("https://evil.example");
  expect(headers["access-control-allow-origin"]).not.toBe("*");
});

test("an answer, also one that refuses the token, can be read by an allowed origin", async () => {
  for (const url of ["/graphql", "/v1/kyc"]) {
    const { statusCode, headers } = await gateway.app.inject({
      ...{ method: "POST", url, payload: '{"query":"{ __typename }"}' },
      headers: { origin: ORIGIN, "content-type": "application/json", authorization: "Bearer x" },
    });
    expect(statusCode).toBe(401);
    expect(headers["access-control-allow-origin"]).toBe(ORIGIN);
    expect(String(headers["access-control-expose-headers"])).toContain("Request-Id");
  }
});
