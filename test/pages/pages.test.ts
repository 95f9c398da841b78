import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

const browser = { accept: "text/html,application/xhtml+xml,*/*;q=0.8" };

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

const get = (url: string, headers: Record<string, string> = browser) => gateway.app.inject({ url, headers });
const loaded = (html: string) =>
  [...html.matchAll(/<(?:link|script)[^>]+(?:href|src)="(\/[^"]+)"/g)].map(([, url]) => url);
const linked = (html: string) => [...html.matchAll(/<a href="([^"]+)"/g)].map(([, url]) => String(url));

describe.each(["/", "/docs"])("the page at %s", (url) => {
  test("has only scripts, styles and connections of its own host, and nothing inline", async () => {
    const { headers, body } = await get(url);
    const policy = String(headers["content-security-policy"]);
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    expect(body).not.toMatch(/<style|style=|<script(?![^>]* src=)| on\w+=/);
    expect(body.replaceAll("http://www.w3.org/2000/svg", "")).not.toMatch(/(href|src)="(https?:)?\/\//);
  });

  test("is kept by no cache, shown in no frame, and loaded by no other origin", async () => {
    expect((await get(url)).headers).toMatchObject({
      "content-type": "text/html; charset=utf-8",
      "cache-control": "no-store",
      "content-security-policy": expect.stringContaining("frame-ancestors 'none'"),
      "cross-origin-resource-policy": "same-origin",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
    });
  });

  test("loads what is there, to be kept for good", async () => {
    const urls = loaded((await get(url)).body);
    expect(urls.length).toBeGreaterThan(0);
    for (const asset of urls) {
      const { statusCode, headers } = await get(String(asset), { accept: "*/*" });
      expect([asset, statusCode]).toEqual([asset, 200]);
      expect(headers["cache-control"]).toBe("public, max-age=31536000, immutable");
    }
  });

  test("links to what is there", async () => {
    for (const link of linked((await get(url)).body)) {
      expect([link, (await get(link)).statusCode]).toEqual([link, 200]);
    }
  });
});

test.each([
  ["curl", { accept: "*/*" }],
  ["a client that wants JSON", { accept: "application/json, text/html;q=0.5" }],
  ["a client that names no type", {}],
])("for %s there is nothing at /", async (_, headers) => {
  const { statusCode, json } = await get("/", headers as Record<string, string>);
  expect(statusCode).toBe(404);
  expect(json().error.code).toBe("route_unknown");
});

test.each([
  ["127.0.0.1:4000", {}, "http://127.0.0.1:4000"],
  ["[::1]:4000", {}, "http://[::1]:4000"],
  ["192.168.0.7:4000", {}, "http://192.168.0.7:4000"],
  ["kyc.example.com", {}, "http://kyc.example.com"],
  ["kyc.example.com", { "x-forwarded-proto": "https" }, "https://kyc.example.com"],
  ["kyc.example.com", { "x-forwarded-proto": "HTTPS, http" }, "https://kyc.example.com"],
  ["kyc.example.com", { "x-forwarded-proto": "<b>" }, "http://kyc.example.com"],
  ["it's&co;", {}, "http://gateway.example"],
])("the page at / calls the host %s with %j %s", async (host, forwarded, origin) => {
  const { body } = await get("/", { ...browser, host, ...forwarded });
  expect(body).toContain(`<b>${origin}/graphql</b>`);
  expect(body).not.toContain("<script>");
});

test.each(['"><script>alert(1)</script>', "localhost<b>", "[<b>]"])(
  "a host that is none is refused, and not repeated: %s",
  async (host) => {
    const { statusCode, body } = await get("/", { ...browser, host });
    expect(statusCode).toBe(400);
    expect(body).not.toContain("<");
  },
);

test("with DOCS=false none of it is there, and GraphQL and REST are", async () => {
  const bare = await createTestApp({ DOCS: "false" });
  try {
    for (const url of ["/", "/docs", "/openapi.json"]) {
      expect((await bare.app.inject({ url, headers: browser })).statusCode).toBe(404);
    }
    const token = await bare.token("a");
    expect((await bare.rest(token, "GET", "/v1/kyc")).statusCode).toBe(200);
    expect((await bare.app.inject({ url: "/graphql", headers: browser })).body).toContain("GraphiQL");
  } finally {
    await bare.close();
  }
});

test("with GRAPHIQL=false the pages do not lead to it", async () => {
  const bare = await createTestApp({ GRAPHIQL: "false" });
  try {
    for (const url of ["/", "/docs"]) {
      expect(linked((await bare.app.inject({ url, headers: browser })).body)).not.toContain("/graphql");
    }
  } finally {
    await bare.close();
  }
});
