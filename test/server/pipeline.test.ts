import type { InjectOptions } from "fastify";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord, goodInput } from "../support/records.ts";

const ORIGIN = "https://app.example.com";
const QUERY = { "content-type": "application/json" };

describe.each([
  ["without CORS", {}],
  ["with CORS", { CORS_ORIGINS: ORIGIN }],
  ["with audited reads", { AUDIT_READS: "true" }],
] as const)("on a gateway %s", (_name, env) => {
  let gateway: TestApp;
  let tokens: Record<string, string | null>;
  let id: string;
  beforeAll(async () => {
    gateway = await createTestApp(env);
    tokens = {
      full: await gateway.token("acme"),
      masked: await gateway.token("acme", ["kyc:read"]),
      writer: await gateway.token("acme", ["kyc:write"]),
      stranger: await gateway.token("globex"),
      unknown: `kycgw_${"x".repeat(43)}`,
      malformed: "x",
      nobody: null,
    };
    id = await createRecord(gateway, String(tokens.full));
    await createRecord(gateway, String(tokens.full));
  });
  afterAll(() => gateway.close());

  async function send(request: InjectOptions, token: string | null | undefined, chunked = false) {
    const response = await gateway.app.inject({
      ...request,
      headers: {
        ...request.headers,
        ...(token && { authorization: `Bearer ${token}` }),
        ...(chunked && { "transfer-encoding": "chunked" }),
      },
    });
    const { date: _date, "request-id": requestId, ...headers } = response.headers;
    const order = Object.keys(response.headers).filter((name) => name !== "date");
    expect(requestId).toMatch(/^req_/);
    return {
      ...{ status: response.statusCode, headers, order },
      body: response.body.replaceAll(String(requestId), "REQUEST"),
    };
  }

  const BY_ID = "query ($id: ID!) { kyc(id: $id) { id documentNumber } }";
  const requests: [string, () => InjectOptions][] = [
    ["a record over REST", () => ({ method: "GET", url: `/v1/kyc/${id}` })],
    ["a record that is not there", () => ({ method: "GET", url: "/v1/kyc/0000000000000000" })],
    ["a page over REST", () => ({ method: "GET", url: "/v1/kyc" })],
    ["a page with a size", () => ({ method: "GET", url: "/v1/kyc?limit=1" })],
    ["a page of a bad size", () => ({ method: "GET", url: "/v1/kyc?limit=0&colour=red" })],
    [
      "behind TLS",
      () => ({ method: "GET", url: `/v1/kyc/${id}`, headers: { "x-forwarded-proto": "https" } }),
    ],
    [
      "a record over GraphQL",
      () => ({ method: "POST", url: "/graphql", headers: QUERY, payload: toBody(BY_ID, { id }) }),
    ],
    [
      "a document that is none",
      () => ({ method: "POST", url: "/graphql", headers: QUERY, payload: toBody("{") }),
    ],
    ["a body that is no JSON", () => ({ method: "POST", url: "/graphql", headers: QUERY, payload: "{" })],
    [
      "a body of another type",
      () => ({
        method: "POST",
        url: "/graphql",
        headers: { "content-type": "text/plain" },
        payload: toBody("{ __typename }"),
      }),
    ],
    [
      "a mutation of bad input",
      () => ({
        method: "POST",
        url: "/graphql",
        headers: QUERY,
        payload: toBody("mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }", {
          input: { ...goodInput, documentNumber: " " },
        }),
      }),
    ],
  ];

  test.each(requests)(
    "%s: the answer is the same every time, however the body is sent",
    async (_, request) => {
      for (const token of Object.values(tokens)) {
        const first = await send(request(), token);
        expect(await send(request(), token)).toEqual(first);
        if (request().method === "POST") expect(await send(request(), token, true)).toEqual(first);
      }
    },
  );

  test.each([
    ["the gateway's own pages", "http://127.0.0.1:4000"],
    ["a known origin", ORIGIN],
    ["an unknown origin", "https://evil.example.com"],
  ])("a page of %s gets the same body as a program", async (_what, origin) => {
    const request: InjectOptions = { method: "GET", url: `/v1/kyc/${id}` };
    const answer = await send({ ...request, headers: { origin } }, tokens.full);
    expect(answer.status).toBe(200);
    expect(answer.body).toBe((await send(request, tokens.full)).body);
  });

  test("each answer is in the log and in the metrics once, with its route and its token", async () => {
    const before = gateway.logged().length;
    await send({ method: "GET", url: `/v1/kyc/${id}` }, tokens.full);
    await send({ method: "GET", url: "/v1/kyc/0000000000000000" }, tokens.full);
    await vi.waitFor(() =>
      expect(
        gateway
          .logged()
          .slice(before)
          .match(/"answered"/g),
      ).toHaveLength(2),
    );
    const lines = gateway
      .logged()
      .slice(before)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    for (const [index, status] of [200, 404].entries()) {
      expect(lines[index]).toMatchObject({ method: "GET", route: "/v1/kyc/:id", status, account: "acme" });
      expect(lines[index].token).toEqual(expect.any(String));
    }
  });

  test("a draining gateway ends the connection with its answer", async () => {
    gateway.draining = true;
    const { headers } = await send({ method: "GET", url: `/v1/kyc/${id}` }, tokens.full);
    gateway.draining = false;
    expect(headers.connection).toBe("close");
  });
});

function toBody(query: string, variables: object = {}): string {
  return JSON.stringify({ query, variables });
}

test("a request that is answered too late is refused in its surface's shape, with the time it took", async () => {
  const gateway = await createTestApp({ REQUEST_TIMEOUT: "300 ms" });
  const token = await gateway.token("acme");
  const id = await createRecord(gateway, token);
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let isLocked = () => {};
  const locked = new Promise<void>((resolve) => {
    isLocked = resolve;
  });
  const transaction = gateway.db.transaction(async (tx) => {
    await tx.execute("lock table kycs in access exclusive mode");
    isLocked();
    await opened;
  });
  await locked;
  const rest = gateway.rest(token, "GET", `/v1/kyc/${id}`);
  const graphql = gateway.graphql(token, "query ($id: ID!) { kyc(id: $id) { id } }", { id });
  expect((await rest).statusCode).toBe(503);
  expect((await rest).json().error.type).toBe("api_error");
  expect((await graphql).status).toBe(503);
  expect((await graphql).errors?.[0]?.extensions.code).toBe("UNAVAILABLE");
  expect((await rest).headers["retry-after"]).toBe("1");
  const [line] = gateway
    .logged()
    .split("\n")
    .filter((text) => text.includes('"status":503'));
  expect(JSON.parse(String(line)).ms).toBeGreaterThan(150);
  open();
  await transaction;
  expect((await gateway.rest(token, "GET", `/v1/kyc/${id}`)).statusCode).toBe(200);
  await gateway.close();
});
