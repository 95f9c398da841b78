import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mintToken } from "../../src/auth/token-secret.ts";
import { createTestApp, type TestApp } from "../support/app.ts";

const LIMIT = 4;
let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp({ RATE_LIMIT: String(LIMIT) });
});
afterAll(() => gateway.close());

const QUERY = "{ kycs(first: 1) { nodes { id } } }";

/** Over the way of most requests, and over the other. */
const post = (token: string | null, accept: string, query = QUERY) =>
  gateway.app.inject({
    method: "POST",
    url: "/graphql",
    headers: {
      ...{ accept, "content-type": "application/json" },
      ...(token && { authorization: `Bearer ${token}` }),
    },
    payload: JSON.stringify({ query }),
  });
const figures = ({ headers }: { headers: Record<string, unknown> }) => ({
  limit: Number(headers["ratelimit-limit"]),
  remaining: Number(headers["ratelimit-remaining"]),
  reset: Number(headers["ratelimit-reset"]),
});

test("each answer tells what the token has left, alike on both surfaces and both ways through GraphQL", async () => {
  const token = await gateway.token("acme");
  const rest = await gateway.rest(token, "GET", "/v1/kyc");
  expect(rest.statusCode).toBe(200);
  expect(figures(rest)).toMatchObject({ limit: LIMIT, remaining: 3 });
  for (const [accept, remaining] of [
    ["*/*", 2],
    ["*/*;q=1", 1],
    ["*/*", 0],
  ] as const) {
    const answer = await post(token, accept);
    expect(figures(answer)).toMatchObject({ limit: LIMIT, remaining });
    expect(figures(answer).reset).toBeGreaterThan(0);
    expect(answer.json().extensions.rateLimit).toEqual(figures(answer));
    expect(Object.keys(answer.json().extensions)).toEqual(["cost", "rateLimit"]);
  }
});

test("what is beyond is answered with 429 and when to come again, on both surfaces", async () => {
  const token = await gateway.token("acme");
  for (let n = 0; n < LIMIT; n++) expect((await gateway.rest(token, "GET", "/v1/kyc")).statusCode).toBe(200);
  const rest = await gateway.rest(token, "GET", "/v1/kyc");
  expect(rest.statusCode).toBe(429);
  expect(rest.json().error).toMatchObject({ type: "rate_limit_error", code: "rate_limited" });
  const graphql = await post(token, "*/*");
  expect(graphql.statusCode).toBe(429);
  const { errors, extensions } = graphql.json();
  expect(errors).toEqual([
    {
      message: rest.json().error.message,
      extensions: { code: "RATE_LIMITED", requestId: graphql.headers["request-id"] },
    },
  ]);
  expect(extensions.rateLimit).toEqual(figures(graphql));
  for (const answer of [rest, graphql]) {
    expect(figures(answer).remaining).toBe(0);
    expect(answer.headers["retry-after"]).toBe(String(figures(answer).reset));
    expect(Number(answer.headers["retry-after"])).toBeLessThanOrEqual(60);
  }
});

test("a write beyond the limit writes nothing, and another token of the account goes on", async () => {
  const spent = await gateway.token("writers");
  const other = await gateway.token("writers");
  const form = {
    customer_id: "c",
    verification_status: "pending",
    document_type: "visa",
    document_number: "1",
  };
  const statuses = [];
  for (let n = 0; n < LIMIT + 2; n++) {
    statuses.push((await gateway.rest(spent, "POST", "/v1/kyc", { form })).statusCode);
  }
  expect(statuses).toEqual([201, 201, 201, 201, 429, 429]);
  expect((await gateway.rest(other, "GET", "/v1/kyc")).json().data).toHaveLength(LIMIT);
});

test("requests without a good token count by their address, and leave tokens alone that are in use", async () => {
  const good = await gateway.token("good");
  expect((await gateway.rest(good, "GET", "/v1/kyc")).statusCode).toBe(200);
  const statuses = [];
  for (const token of ["wrong", "kyc_wrong", null, null, "wrong", null]) {
    statuses.push((await gateway.rest(token, "GET", "/v1/kyc")).statusCode);
  }
  expect(statuses).toEqual([401, 401, 401, 401, 429, 429]);
  const introspection = await post(null, "*/*", "{ __typename }");
  expect(introspection.statusCode).toBe(429);
  await wait(1000);
  expect((await gateway.rest(good, "GET", "/v1/kyc")).statusCode).toBe(200);
});

test("a good token that was not used before is served, however many are guessed at its address", async () => {
  const guess = () => gateway.rest(mintToken(), "GET", "/v1/kyc");
  await expect.poll(async () => (await guess()).statusCode).toBe(429);
  const tokens = await Promise.all(Array.from({ length: 5 }, (_, n) => gateway.token(`new${n}`)));
  const guesses = Array.from({ length: 300 }, guess);
  const answers = await Promise.all(tokens.map((token) => gateway.rest(token, "GET", "/v1/kyc")));
  expect(answers.map(({ statusCode }) => statusCode)).toEqual(tokens.map(() => 200));
  for (const { statusCode, headers } of await Promise.all(guesses)) {
    expect(statusCode).toBe(429);
    expect(Number(headers["retry-after"])).toBeGreaterThan(0);
  }
});

test("guesses take at most two of the database's connections, and tokens in use don't wait behind them", async () => {
  const inUse = await gateway.token("in use");
  expect((await gateway.rest(inUse, "GET", "/v1/kyc")).statusCode).toBe(200);
  await gateway.db.transaction(async (tx) => {
    await tx.execute("lock table tokens in access exclusive mode");
    const guesses = Array.from({ length: 250 }, () => gateway.rest(mintToken(), "GET", "/v1/kyc"));
    await expect.poll(() => gateway.db.usage().inUse).toBe(3);
    await wait(100);
    expect(gateway.db.usage()).toMatchObject({ inUse: 3, waiting: 0 });
    for (const guess of guesses) guess.catch(() => {});
  });
  expect((await gateway.rest(inUse, "GET", "/v1/kyc")).statusCode).toBe(200);
});

test("what was limited is counted, by the token or the address", async () => {
  const { body } = await gateway.app.inject({ url: "/metrics" });
  for (const by of ["token", "address"])
    expect(body).toMatch(new RegExp(`^http_requests_limited_total{by="${by}"} [1-9]`, "m"));
});

test("probes and metrics are never limited", async () => {
  for (const url of ["/health", "/ready", "/metrics"]) {
    for (let n = 0; n < LIMIT + 2; n++) {
      const answer = await gateway.app.inject({ url });
      expect(answer.statusCode).toBe(200);
      expect(answer.headers["ratelimit-limit"]).toBeUndefined();
    }
  }
});
