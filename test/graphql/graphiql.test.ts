import { readFile } from "node:fs/promises";
import { get, type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import Fastify from "fastify";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { registerGraphiql, wantsGraphiql } from "../../src/graphql/graphiql/graphiql.ts";
import { serveOwnAssets } from "../../src/pages/assets.ts";

const chrome =
  "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";

/** The files that the page may request, with their paths in the package. */
const sources: Record<string, string> = {
  "graphiql.js": "yoga-graphiql.es.js",
  "graphiql.css": "graphiql.css",
  "editor.worker.js": "monacoeditorwork/editor.worker.bundle.js",
  "graphql.worker.js": "monacoeditorwork/graphql.worker..bundle.js",
  "json.worker.js": "monacoeditorwork/json.worker.bundle.js",
};

const app = Fastify();
let port: number;
let html: string;
let pageHeaders: IncomingHttpHeaders;

beforeAll(async () => {
  const sendGraphiql = await registerGraphiql(app, await serveOwnAssets(app));
  app.get("/graphql", (request, reply) =>
    wantsGraphiql(request) ? sendGraphiql(reply) : reply.send("answer"),
  );
  await app.listen({ port: 0, host: "127.0.0.1" });
  port = (app.server.address() as AddressInfo).port;
  const page = await request("/graphql", { accept: chrome });
  html = page.body.toString();
  pageHeaders = page.headers;
});

afterAll(() => app.close());

/** Sends the path unchanged: a URL object would normalize an attacker's paths. */
async function request(path: string, headers: OutgoingHttpHeaders = {}) {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get({ host: "127.0.0.1", port, path, headers }, resolve).on("error", reject);
  });
  return { status: response.statusCode, headers: response.headers, body: await buffer(response) };
}

function assetPaths(): string[] {
  return [...new Set(html.match(/\/graphql\/assets\/[^"]+/g))];
}

describe("the files", () => {
  test("are exactly those that the page names", () => {
    const names = assetPaths().map((path) => path.slice(path.lastIndexOf("/") + 1));
    expect(names.sort()).toEqual(Object.keys(sources).sort());
  });

  test.each(Object.entries(sources))(
    "%s is the package's own, with and without compression",
    async (name, source) => {
      const path = assetPaths().find((candidate) => candidate.endsWith(`/${name}`)) ?? "";
      const original = await readFile(`node_modules/@graphql-yoga/graphiql/dist/${source}`);

      const compressed = await request(path, { "accept-encoding": "br, gzip;q=0.8" });
      expect(compressed.headers).toMatchObject({
        "content-encoding": "gzip",
        "content-type": name.endsWith(".css") ? "text/css; charset=utf-8" : "text/javascript; charset=utf-8",
        "cache-control": "public, max-age=31536000, immutable",
        vary: "accept-encoding",
        "x-content-type-options": "nosniff",
      });
      expect(gunzipSync(compressed.body).equals(original)).toBe(true);

      const plain = await request(path, { "accept-encoding": "br, gzip;q=0" });
      expect(plain.headers).not.toHaveProperty("content-encoding");
      expect(plain.body.equals(original)).toBe(true);
    },
  );

  test.each([
    "LICENSE",
    "graphiql.js.gz",
    "../../../package.json",
    "%2e%2e/%2e%2e/%2e%2e/package.json",
    "..%2f..%2f..%2fpackage.json",
    "..%5c..%5c..%5cpackage.json",
    "graphiql.js/../../../../package.json",
    "graphiql.js%00",
    "",
  ])("nothing else is served: %s", async (name) => {
    const folder = assetPaths()[0]?.replace(/[^/]+$/, "");
    expect((await request(`${folder}${name}`)).status).toBe(404);
  });

  test("of another version are not these ones", async () => {
    expect((await request("/graphql/assets/0.0.1/graphiql.js")).status).toBe(404);
  });
});

describe("the page", () => {
  test("names no other host", () => {
    // The namespace of SVG is a name that nothing ever fetches.
    const text = html.replaceAll("http://www.w3.org/2000/svg", "");
    expect(text).not.toMatch(/(https?:|wss?:|["'(])\/\//i);
  });

  test("may run the gateway's scripts, and none of its own, and reach no other host", async () => {
    const script = /<script type="module" src="(.*?)">/.exec(html)?.[1] ?? "";
    expect((await request(script)).status).toBe(200);
    expect(html.match(/<script(?![^>]*src=)[^>]*>/g)).toEqual([
      '<script type="application/json" id="settings">',
    ]);
    expect(String(pageHeaders["content-security-policy"]).split("; ")).toEqual([
      "default-src 'none'",
      "script-src 'self'",
      "worker-src 'self'",
      "style-src 'self' 'unsafe-inline'",
      "img-src 'self' data:",
      "font-src 'self' data:",
      "connect-src 'self'",
      "frame-ancestors 'none'",
      "base-uri 'none'",
      "form-action 'none'",
    ]);
  });

  test("is not named to other sites", () => {
    expect(pageHeaders).toMatchObject({
      "content-type": "text/html; charset=utf-8",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
    });
  });

  test.each([
    ["a browser", chrome, "/graphql"],
    ["a browser that follows a link with parameters of no meaning", chrome, "/graphql?utm_source=mail"],
    ["whoever likes a page better than JSON", "application/json;q=0.5, text/html;q=0.9", "/graphql"],
  ])("is for %s", async (_who, accept, path) => {
    expect((await request(path, { accept })).body.toString()).toContain("<!doctype html>");
  });

  test.each([
    ["a query from the address bar", chrome, "/graphql?query=%7B__typename%7D"],
    ["a GraphQL client", "application/graphql-response+json, application/json;q=0.9", "/graphql"],
    ["a client that takes a page as second best", "application/json, text/html;q=0.9", "/graphql"],
    ["a client that takes both alike", "application/json, text/html", "/graphql"],
    ["a client that refuses pages", "text/html;q=0, */*", "/graphql"],
    ["curl", "*/*", "/graphql"],
  ])("is not for %s", async (_who, accept, path) => {
    expect((await request(path, { accept })).body.toString()).toBe("answer");
  });

  test("is not for a client that names no type", async () => {
    expect((await request("/graphql")).body.toString()).toBe("answer");
  });
});
