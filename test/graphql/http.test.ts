import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { serverAudits } from "graphql-http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

let gateway: TestApp;
let token: string;
let url: string;

beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  url = `${await gateway.app.listen({ port: 0, host: "127.0.0.1" })}/graphql`;
});
afterAll(() => gateway.close());

describe("GraphQL over HTTP", () => {
  for (const audit of serverAudits({ url: () => url })) {
    test(audit.name, async () => {
      const result = await audit.fn();
      expect(result).toMatchObject({ status: "ok" });
    });
  }
});

const post = (body: unknown, headers: Record<string, string> = {}) =>
  fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });

test("a token that is present but invalid answers 401 for the whole request, introspection included", async () => {
  for (const authorization of [
    "Bearer nonsense",
    `Bearer kycgw_${"a".repeat(43)}`,
    "Basic YTpi",
    "Bearer",
    token,
  ]) {
    const answer = await post({ query: "{ __typename }" }, { authorization });
    expect(answer.status).toBe(401);
    const isBearer = /^bearer \S/i.test(authorization);
    expect(answer.headers.get("www-authenticate")).toBe(isBearer ? 'Bearer error="invalid_token"' : "Bearer");
    expect(await answer.json()).toMatchObject({
      errors: [{ extensions: { code: "UNAUTHENTICATED", requestId: answer.headers.get("request-id") } }],
    });
  }
});

test("introspection needs no token, and can be turned off", async () => {
  const query = "{ __schema { queryType { name } } }";
  expect(await (await post({ query })).json()).toMatchObject({
    data: { __schema: { queryType: { name: "Query" } } },
  });
  const closed = await createTestApp({ INTROSPECTION: "false" });
  const { errors } = await closed.graphql(null, query);
  await closed.close();
  expect(errors?.[0]?.extensions.code).toBe("GRAPHQL_VALIDATION_FAILED");
});

test("a body over the limit is refused with 413 and another content type with 415", async () => {
  const large = await post({ query: `{ __typename } #${"x".repeat(110_000)}` });
  expect(large.status).toBe(413);
  expect(await large.json()).toMatchObject({ errors: [{ extensions: { code: "BAD_USER_INPUT" } }] });
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
    expect((await post("query=%7B__typename%7D", { "content-type": type })).status, type).toBe(415);
  }
});

test("a body of any coding is refused with 415, and media types are read in any letters", async () => {
  for (const encoding of [
    "gzip",
    "br",
    "identity, ZSTD",
    "dcb",
    "aes128gcm",
    "exi",
    "identity identit",
    "x",
  ]) {
    const answer = await post({ query: "{ __typename }" }, { "content-encoding": encoding });
    expect([encoding, answer.status]).toEqual([encoding, 415]);
    expect(answer.headers.get("accept-encoding")).toBe("identity");
  }
  for (const encoding of ["", "IDENTITY", "identity, , identity"])
    expect((await post({ query: "{ __typename }" }, { "content-encoding": encoding })).status).toBe(200);
  for (const [name, value] of Object.entries({
    "content-encoding": "identity",
    "content-type": "Application/JSON",
  }))
    expect((await post({ query: "{ __typename }" }, { [name]: value })).status).toBe(200);
});

test("who accepts nothing that there is gets an error that says what there is", async () => {
  const answer = await post({ query: "{ __typename }" }, { accept: "application/xml" });
  expect(answer.status).toBe(406);
  expect(await answer.json()).toMatchObject({
    errors: [
      { message: expect.stringContaining("application/json"), extensions: { code: "BAD_USER_INPUT" } },
    ],
  });
});

test("queries work over GET, mutations don't", async () => {
  const query = await fetch(`${url}?query=${encodeURIComponent("{ __typename }")}`);
  expect(await query.json()).toMatchObject({ data: { __typename: "Query" } });
  const mutation = await fetch(
    `${url}?query=${encodeURIComponent('mutation { deleteKyc(input: { id: "x" }) { deletedId } }')}`,
  );
  expect(mutation.status).toBe(405);
  expect(mutation.headers.get("allow")).toBe("POST");
});

test.each([
  ["query=%ZZ", "percent-encoded"],
  ["query=%", "percent-encoded"],
  ["query={kyc(id:%22%FF%22){id}}", "percent-encoded"],
  ["query={kyc(id:%22%ED%A0%80%22){id}}", "percent-encoded"],
  ["query={__typename}&x=%E0%A4", "percent-encoded"],
  ["%ZZ=1&query={__typename}", "percent-encoded"],
  ["query={__typename}&query={__typename}", "query is sent more than once"],
  ["query={__typename}&%71uery={kycs{totalCount}}", "query is sent more than once"],
  ["query={__typename}&variables={}&variables={}", "variables is sent more than once"],
  ["documentId=a&documentId=b", "documentId is sent more than once"],
  ["query={__typename}&variables={%22a%22:%22%00%22}", "not JSON"],
])("an address that can be read in two ways, or in none, is refused: ?%s", async (search, words) => {
  const { statusCode, json } = await gateway.app.inject({ url: `/graphql?${search}` });
  expect(statusCode).toBe(400);
  expect(json().errors).toMatchObject([
    { message: expect.stringContaining(words), extensions: { code: "BAD_USER_INPUT" } },
  ]);
});

test("a parameter of somebody else's may be in an address as often as they like", async () => {
  const answer = await gateway.app.inject({ url: "/graphql?utm=1&query={__typename}&utm=2&&%2B=" });
  expect(answer.json().data).toEqual({ __typename: "Query" });
});

test.each(["http://user:pass@x/graphql", "http://x/graphql", "/graphql"])(
  "the whole address %s is as good as its path",
  async (address) => {
    const { hostname: host, port } = new URL(url);
    const socket = connect(Number(port), host);
    socket.end(`GET ${address}?query={__typename} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
    expect(answer).toContain('"__typename":"Query"');
  },
);

test("an answer as an event stream is whole HTTP", async () => {
  const socket = connect(Number(new URL(url).port), new URL(url).hostname);
  socket.end(
    `GET /graphql?query={__typename} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n`,
  );
  const [head = "", ...body] = (await text(socket)).split("\r\n\r\n");
  expect(head).toMatch(/^HTTP\/1.1 200 /);
  expect(head).not.toMatch(/transfer-encoding|content-encoding/i);
  const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
  expect(Buffer.byteLength(body.join("\r\n\r\n"))).toBe(length);
  expect(body.join()).toContain('"__typename":"Query"');
});

test("batches are refused", async () => {
  const answer = await post([{ query: "{ __typename }" }, { query: "{ __typename }" }]);
  expect(answer.status).toBe(400);
});

test("answers are never cached, and carry the request's id", async () => {
  const answer = await post({ query: "{ __typename }" });
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect(answer.headers.get("request-id")).toMatch(/^req_/);
});

test("no origin is allowed unless it is configured", async () => {
  const foreign = await post({ query: "{ __typename }" }, { origin: "https://app.example" });
  expect(foreign.headers.get("access-control-allow-origin")).toBeNull();
  const open = await createTestApp({ CORS_ORIGINS: "https://app.example" });
  const preflight = async (origin: string) =>
    (
      await open.app.inject({
        method: "OPTIONS",
        url: "/graphql",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization",
        },
      })
    ).headers["access-control-allow-origin"];
  const allowed = [await preflight("https://app.example"), await preflight("https://evil.example")];
  await open.close();
  expect(allowed).toEqual(["https://app.example", undefined]);
});
