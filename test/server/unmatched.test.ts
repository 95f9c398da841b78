import { once } from "node:events";
import { Agent, METHODS, request } from "node:http";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

let gateway: TestApp;
let withCors: TestApp;
let port: number;
/** Every path that there is, and the methods that it is for. */
const paths = new Map<string, string[]>();
beforeAll(async () => {
  gateway = await createTestApp();
  withCors = await createTestApp({ CORS_ORIGINS: "https://app.example" });
  port = Number(new URL(await gateway.app.listen({ port: 0, host: "127.0.0.1" })).port);
  const { body } = await gateway.app.inject("/docs");
  const assets = [...body.matchAll(/(?:src|href)="(\/[^"]+\.(?:js|css))"/g)].map(([, path]) => String(path));
  expect(assets.length).toBeGreaterThan(2);
  for (const path of ["/", "/docs", "/openapi.json", "/health", "/ready", "/metrics", ...assets])
    paths.set(path, ["GET", "HEAD"]);
  paths.set("/graphql", ["GET", "HEAD", "POST"]);
  const document: { paths: Record<string, object> } = (await gateway.app.inject("/openapi.json")).json();
  for (const [path, calls] of Object.entries(document.paths)) {
    const methods = Object.keys(calls).map((name) => name.toUpperCase());
    const served = METHODS.filter((method) => methods.includes(method === "HEAD" ? "GET" : method));
    for (const id of ["x", "AAAAAAAAAAAAAAAA"]) paths.set(path.replace("{id}", id), served);
  }
  paths.set("/v1/kyc/", ["GET", "HEAD", "POST"]);
});
afterAll(async () => {
  await gateway.close();
  await withCors.close();
});

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

const agent = new Agent({ keepAlive: true });
afterAll(() => agent.destroy());

async function send(method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const sent = request({ agent, host: "127.0.0.1", port, method, path, headers });
  sent.end();
  const [answer] = await once(sent, "response");
  let body = "";
  for await (const chunk of answer) body += chunk;
  return { status: answer.statusCode, headers: answer.headers, body };
}

async function sendLines(text: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk;
  });
  socket.end(text);
  await once(socket, "close");
  return answer;
}

/** CONNECT has its own test, because Node's client can't read the answer to it. */
const EVERY_METHOD = METHODS.filter((method) => method !== "CONNECT");

test("a method that a path is not for is answered 405 with those that it is for, without a token", async () => {
  for (const [path, methods] of paths) {
    for (const method of EVERY_METHOD.filter((one) => ![...methods, "OPTIONS"].includes(one))) {
      const { status, headers, body } = await send(method, path);
      expect([method, path, status]).toEqual([method, path, 405]);
      expect(String(headers.allow).split(", ").sort()).toEqual([...methods, "OPTIONS"].sort());
      expect(headers["cache-control"]).toBe("no-store");
      if (method === "HEAD") continue;
      if (path === "/graphql") expect(JSON.parse(body).errors[0].extensions.code).toBe("BAD_USER_INPUT");
      else expect(JSON.parse(body).error.code).toBe("method_not_allowed");
    }
  }
});

test("no method finds anything at an unknown path", async () => {
  for (const path of [
    "/nowhere",
    "/v1",
    "/v1/kyc/a/b",
    "/health/",
    "/graphql/x",
    "/assets",
    "/v1/kyc/search/",
  ]) {
    for (const method of EVERY_METHOD) {
      const { status, headers } = await send(method, path);
      expect([method, path, status]).toEqual([method, path, 404]);
      expect(headers["cache-control"]).toBe("no-store");
      expect(headers.allow).toBeUndefined();
    }
  }
});

test.each([
  ["example.org:443", 404],
  ["/v1/kyc", 405],
  ["/graphql", 405],
  ["/nowhere", 404],
])("CONNECT %s is answered as any method that a path is not for", async (target, status) => {
  const answer = await sendLines(`CONNECT ${target} HTTP/1.1\r\nHost: example.org\r\n\r\n`);
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(answer.toLowerCase()).toContain("\r\ncache-control: no-store\r\n");
  expect(/\r\nallow: \w/.test(answer)).toBe(status === 405);
  expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")))).toBeDefined();
});

// Paths of unusual methods are found by another router than those of usual ones.
test.each([
  ["/v1/kyc/search", 405],
  ["/v1/kyc/", 405],
  ["/%67raphql", 405],
  ["/v1/events?limit=0&%zz", 405],
  ["http://elsewhere.example/graphql?query={a}", 405],
  [`/v1/kyc/${"a".repeat(9000)}/history`, 405],
  ["//v1/kyc", 404],
  ["/v1/kyc;x", 404],
  ["/GraphQL", 404],
  ["/graphql%3Fx", 404],
  ["/%zz", 400],
  ["/v1/kyc/%E0%A4%A", 400],
])("an unusual method gets the same answer as PUT at %s", async (path, status) => {
  const answers = ["PROPFIND", "M-SEARCH", "PUT"].map(async (method) => {
    const answer = await sendLines(`${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    return answer.replaceAll(/^(date|request-id): .*\r\n/gim, "").replaceAll(/"request_?id":"[^"]*"/gi, "");
  });
  const [first = "", second, third] = await Promise.all(answers);
  expect(first).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(/^allow: \w/im.test(first)).toBe(status === 405);
  expect(second).toBe(first);
  expect(third).toBe(first);
});

test("an unknown path is not found whatever the body is, and a known one says which methods it takes", async () => {
  const payload = "x".repeat(200 * 1024);
  for (const type of ["garbage", "text/plain", "application/json"]) {
    const sent = { payload, headers: { "content-type": type } };
    expect((await gateway.app.inject({ method: "POST", url: "/nowhere", ...sent })).statusCode).toBe(404);
    for (const url of ["/health", "/v1/kyc"])
      expect((await gateway.app.inject({ method: "PUT", url, ...sent })).statusCode).toBe(405);
  }
});

test("a preflight is answered as before, at unknown paths too, and other OPTIONS of them are not found", async () => {
  const preflight = { origin: "https://app.example", "access-control-request-method": "PUT" };
  for (const url of ["/v1/kyc", "/graphql", "/nowhere"]) {
    const answer = await withCors.app.inject({ method: "OPTIONS", url, headers: preflight });
    expect(answer.statusCode).toBe(204);
    expect(answer.headers["access-control-allow-origin"]).toBe("https://app.example");
    expect(answer.headers["access-control-allow-methods"]).toBe("GET, POST, PUT, PATCH, DELETE");
    const foreign = { ...preflight, origin: "https://other.example" };
    const refused = await withCors.app.inject({ method: "OPTIONS", url, headers: foreign });
    expect(refused.headers["access-control-allow-origin"]).toBeUndefined();
  }
  const other = await withCors.app.inject({ method: "OPTIONS", url: "/nowhere" });
  expect([other.statusCode, other.json().error.code]).toEqual([404, "route_unknown"]);
});

describe("HEAD answers as GET does, without the body", () => {
  const token = () => gateway.token("head");

  test("at every path", async () => {
    const authorization = `Bearer ${await token()}`;
    for (const [path, methods] of paths) {
      if (!methods.includes("GET")) continue;
      for (const accept of ["*/*", "text/html"]) {
        // The figures of one answer are others in the next, and only a body has an encoding for its transfer.
        const skipped = path === "/metrics" ? ["content-length"] : ["transfer-encoding"];
        await expectAlike(path, { authorization, accept }, skipped);
      }
    }
  });

  test.each([
    "/graphql?query=%7B__typename%7D",
    "/graphql?query=%7Bkycs%7BtotalCount%7D%7D",
    "/graphql?query=%7Bnothing%7D",
    "/graphql?query=mutation%7BdeleteKyc(input:%7Bid:%22x%22%7D)%7BdeletedId%7D%7D",
    "/v1/kyc?limit=0",
  ])("at %s", async (path) => expectAlike(path, { authorization: `Bearer ${await token()}` }));

  async function expectAlike(path: string, headers: Record<string, string>, skipped: string[] = []) {
    const get = await send("GET", path, headers);
    const head = await send("HEAD", path, headers);
    expect([path, head.status, head.body]).toEqual([path, get.status, ""]);
    const own = ["date", "request-id", ...skipped];
    const kept = (answer: Answer) => Object.entries(answer.headers).filter(([name]) => !own.includes(name));
    expect(Object.fromEntries(kept(head))).toEqual(Object.fromEntries(kept(get)));
  }
});

test("a request for WebSocket is told to stay with HTTP/1.1, at GraphQL's address", async () => {
  const answer = await sendLines(
    "GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
      "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n",
  );
  expect(answer).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\n/);
  expect(answer.toLowerCase()).toContain("\r\nupgrade: http/1.1\r\n");
  expect(answer.toLowerCase()).toMatch(/\r\nconnection: upgrade\r\n/);
  expect(answer).toContain('{"errors":[{"message":"WebSocket');
});

test("any other protocol that a client would go on with is passed over", async () => {
  const upgrade = {
    connection: "Upgrade, HTTP2-Settings",
    upgrade: "h2c",
    "http2-settings": "AAMAAABkAAQAAP__",
  };
  expect((await send("GET", "/health", upgrade)).status).toBe(200);
  expect((await send("GET", "/graphql?query=%7B__typename%7D", upgrade)).status).toBe(200);
});
