import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

let gateway: TestApp;
let port: number;
beforeAll(async () => {
  gateway = await createTestApp({ CORS_ORIGINS: "https://app.example.com" });
  port = Number(new URL(await gateway.app.listen({ port: 0, host: "127.0.0.1" })).port);
});
afterAll(() => gateway.close());

const EVERYWHERE = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "content-security-policy": expect.stringMatching(/default-src 'none'/),
};

test.each([
  ["GET", "/v1/kyc"],
  ["GET", "/v1/kyc/%ZZ"],
  ["GET", "/nowhere"],
  ["TRACE", "/v1/kyc"],
  ["GET", "/graphql?query={__typename}"],
  ["GET", "/graphql"],
  ["PUT", "/graphql"],
  ["OPTIONS", "/graphql"],
  ["GET", "/health"],
  ["GET", "/ready"],
  ["GET", "/metrics"],
] as const)("every answer has the security headers: %s %s", async (method, url) => {
  for (const accept of ["*/*", "text/html"]) {
    const { headers } = await gateway.app.inject({ method: method as "GET", url, headers: { accept } });
    expect(headers).toMatchObject(EVERYWHERE);
    expect(headers["content-security-policy"]).not.toMatch(/unsafe-(eval|hashes)|\*/);
    expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
    expect(headers["x-powered-by"] ?? headers.server).toBeUndefined();
  }
});

test.each([
  ["GET", "/health"],
  ["GET", "/ready"],
  ["GET", "/metrics"],
  ["GET", "/nowhere"],
  ["PUT", "/v1/kyc"],
  ["GET", "/v1/kyc"],
  ["GET", "/v1/kyc/%ZZ"],
  ["GET", "/graphql"],
] as const)("no cache may keep the answer to %s %s", async (method, url) => {
  expect((await gateway.app.inject({ method, url })).headers["cache-control"]).toBe("no-store");
});

async function sendBytes(bytes: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk;
  });
  socket.end(bytes);
  await once(socket, "close");
  return answer;
}

test.each([
  ["what is not HTTP", "bad bytes\r\n\r\n", 400],
  ["headers that are too large", `GET / HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(20_000)}\r\n\r\n`, 431],
  ["a request without a host", "GET /v1/kyc HTTP/1.1\r\nConnection: close\r\n\r\n", 400],
  [
    "a request that expects what nobody knows",
    "GET /nowhere HTTP/1.1\r\nHost: x\r\nExpect: more\r\nConnection: close\r\n\r\n",
    404,
  ],
  ["an address that is none", "GET //%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400],
])("%s is refused with them, too", async (_what, bytes, status) => {
  const answer = await sendBytes(bytes);
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  for (const name of Object.keys(EVERYWHERE)) expect(answer.toLowerCase()).toContain(`\r\n${name}: `);
});

test("GraphQL without a host is refused in its own shape, and HTTP/1.0 needs none", async () => {
  const query = '{"query":"{ __typename }"}';
  const ask = (version: string) =>
    sendBytes(
      `POST /graphql HTTP/${version}\r\nContent-Type: application/json\r\nConnection: close\r\n` +
        `Content-Length: ${query.length}\r\n\r\n${query}`,
    );
  expect(await ask("1.1")).toMatch(
    /^HTTP\/1.1 400 [\s\S]*"errors":\[\{"message":"The request has no Host\."/,
  );
  expect(await ask("1.0")).toContain('"__typename":"Query"');
});

test.each([
  ["1.1", "gzip, chunked", 501],
  ["1.1", "identity, chunked", 501],
  ["1.1", "deflate\r\nTransfer-Encoding: chunked", 501],
  ["1.0", "chunked", 400],
  ["1.1", " Chunked ", 200],
])("over HTTP/%s, a body with the Transfer-Encoding %j is answered %i", async (version, coding, status) => {
  const query = '{"query":"{ __typename }"}';
  const answer = await sendBytes(
    `POST /graphql HTTP/${version}\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: ${coding}\r\n` +
      `${status === 200 ? "Connection: close\r\n" : ""}\r\n${query.length.toString(16)}\r\n${query}\r\n0\r\n\r\n`,
  );
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} [\\s\\S]*\r\nconnection: close\r\n`, "i"));
});

test("browsers are told to stay with TLS if a proxy says that they came over it, and only then", async () => {
  const header = async (headers: Record<string, string>) =>
    (await gateway.app.inject({ url: "/health", headers })).headers["strict-transport-security"];
  expect(await header({ "x-forwarded-proto": "https" })).toMatch(/^max-age=\d{8}/);
  expect(await header({})).toBeUndefined();
  for (const list of ["HTTPS", "https, http", "https,http,http", " Https ,http"])
    expect([list, await header({ "x-forwarded-proto": list })]).toEqual([list, expect.any(String)]);
  for (const list of ["http", "http, https", "httpsx", "", ",https"])
    expect([list, await header({ "x-forwarded-proto": list })]).toEqual([list, undefined]);
});

test("pages of CORS_ORIGINS may call and read what they need, all others nothing", async () => {
  const ask = async (origin: string, method: "GET" | "OPTIONS") =>
    (
      await gateway.app.inject({
        method,
        url: "/graphql?query={__typename}",
        headers: {
          origin,
          ...(method === "OPTIONS" && {
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
          }),
        },
      })
    ).headers;
  const allowed = await ask("https://app.example.com", "GET");
  expect(allowed["access-control-allow-origin"]).toBe("https://app.example.com");
  for (const name of [
    "ETag",
    "Request-Id",
    "Retry-After",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
  ])
    expect(allowed["access-control-expose-headers"]).toContain(name);
  expect(await ask("https://app.example.com", "OPTIONS")).toMatchObject({
    "access-control-allow-origin": "https://app.example.com",
    "access-control-allow-methods": expect.stringContaining("POST"),
  });
  for (const origin of ["https://evil.example.com", "https://app.example.com.evil.example", "null", ""]) {
    for (const method of ["GET", "OPTIONS"] as const) {
      const headers = await ask(origin, method);
      expect(headers["access-control-allow-origin"]).not.toBe(origin || "*");
      expect(headers["access-control-allow-origin"]).not.toBe("*");
      expect(headers["access-control-allow-credentials"]).toBeUndefined();
    }
  }
});
