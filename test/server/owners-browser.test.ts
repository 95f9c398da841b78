import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request as send } from "node:http";
import { networkInterfaces } from "node:os";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SCOPES } from "../../src/auth/scopes.ts";
import { issueToken, listTokens, revokeToken } from "../../src/auth/tokens.ts";
import { findOwners, isLoopbackHost } from "../../src/server/owners-browser.ts";
import { createTestApp, type TestApp } from "../support/app.ts";

/** What Chrome sends when its user types the address. */
const NAVIGATION = {
  accept: "text/html,application/xhtml+xml,*/*;q=0.8",
  "sec-fetch-site": "none",
  "sec-fetch-mode": "navigate",
  "sec-fetch-dest": "document",
  "sec-fetch-user": "?1",
};

let gateway: TestApp;
let token: string;
let port: number;
beforeAll(async () => {
  // Costs next to nothing where the pages' files are there already.
  await promisify(execFile)(process.execPath, ["build.mjs"]);
  gateway = await createTestApp({ CORS_ORIGINS: "https://app.example.com" }, undefined, async (db, keys) => {
    const options = {
      accountId: "demo",
      name: "development",
      scopes: SCOPES,
      expiresAt: null,
      now: Date.now(),
    };
    token = await issueToken(db, keys, options);
    return token;
  });
  // Wider than a gateway on its embedded database does by itself: what each request is must be enough.
  port = Number(new URL(await gateway.app.listen({ port: 0, host: "0.0.0.0" })).port);
});
afterAll(() => gateway.close());

async function load(
  path: string,
  headers: OutgoingHttpHeaders,
  address = "127.0.0.1",
): Promise<{ headers: IncomingHttpHeaders; html: string }> {
  const call = send({
    host: address,
    port,
    path,
    headers: present({ host: `localhost:${port}`, ...NAVIGATION, ...headers }),
    agent: false,
  });
  const response = once(call, "response");
  call.end();
  const [answer] = await response;
  return { headers: answer.headers, html: await text(answer) };
}

/** What is set to undefined is not sent. */
function present(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
}

/** The pages that fill the token in, and what each of them is known by. */
const PAGES = [
  ["/graphql", "start-graphiql"],
  ["/docs", "swagger-ui-bundle"],
] as const;

describe.each(PAGES)("the page at %s opened in the browser of the gateway's user", (path) => {
  test.each(["localhost", "127.0.0.1", "LocalHost", "[::1]"])("at %s has the token", async (name) => {
    const { html } = await load(path, { host: `${name}:${port}` });
    expect(html).toContain(token);
  });

  test("has the token also when a page of ours led there", async () => {
    expect((await load(path, { "sec-fetch-site": "same-origin" })).html).toContain(token);
  });

  test("is kept by no cache, shown in no frame, and read by no page of another origin", async () => {
    const { headers } = await load(path, {});
    expect(headers).toMatchObject({
      "cache-control": "no-store",
      "content-security-policy": expect.stringContaining("frame-ancestors 'none'"),
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "x-frame-options": "DENY",
    });
    expect(headers).not.toHaveProperty("access-control-allow-origin");
  });
});

describe.each(PAGES)("the page at %s has no token", (path, mark) => {
  test.each<[string, OutgoingHttpHeaders]>([
    ["for a site whose name was bound to this address", { host: "evil.example" }],
    ["for such a site on our port", { host: `evil.example:0` }],
    ["under a name that only looks like ours", { host: "localhost.evil.example" }],
    ["under a name with a dot behind it", { host: "localhost." }],
    ["through a tunnel or proxy on another port", { host: "localhost:1" }],
    ["through a tunnel or proxy on the usual port", { host: "localhost" }],
    ["for whom a proxy names", { "x-forwarded-for": "203.0.113.7" }],
    ["for a host that a proxy names", { "x-forwarded-host": "kyc.example.com" }],
    ["for whom a proxy names as the standard says", { forwarded: "for=203.0.113.7" }],
    ["through a proxy that names itself", { via: "1.1 proxy" }],
    ["through nginx as it is often set up", { "x-real-ip": "203.0.113.7" }],
    ["through a content delivery network", { "cf-connecting-ip": "203.0.113.7" }],
    ["for a script of another site", { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }],
    [
      "for a script of a site that CORS allows",
      { "sec-fetch-mode": "cors", origin: "https://app.example.com" },
    ],
    ["for a script of our own origin", { "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors" }],
    ["in a frame", { "sec-fetch-dest": "iframe" }],
    ["behind a link of another site", { "sec-fetch-site": "cross-site" }],
    ["behind a link of another port", { "sec-fetch-site": "same-site" }],
    [
      "for a program",
      { "sec-fetch-mode": undefined, "sec-fetch-site": undefined, "sec-fetch-dest": undefined },
    ],
  ])("%s", async (_, { host, ...headers }) => {
    const name = host === undefined ? {} : { host: String(host).replace(/:0$/, `:${port}`) };
    const { html } = await load(path, { ...headers, ...name });
    expect(html).toContain(mark);
    expect(html).not.toContain("kycgw_");
  });

  test("on a connection from elsewhere", async () => {
    const other = Object.values(networkInterfaces())
      .flat()
      .find((address) => address && !address.internal && address.family === "IPv4")?.address;
    // A machine without a network has no elsewhere.
    if (other === undefined) return;
    expect((await load(path, {}, other)).html).not.toContain("kycgw_");
  });

  test.runIf(process.getuid?.() === 0)("for another user of the machine", async () => {
    const program = `
      const headers = ${JSON.stringify({ ...NAVIGATION, host: `localhost:${port}` })};
      require("node:http").get({ host: "127.0.0.1", port: ${port}, path: "${path}", headers }, (answer) => answer.pipe(process.stdout));`;
    const [mine, others] = await Promise.all(
      [undefined, 65_534].map(async (uid) => {
        const child = spawn(process.execPath, ["-e", program], { uid, cwd: "/" });
        return text(child.stdout);
      }),
    );
    expect(mine).toContain(token);
    expect(others).toContain(mark);
    expect(others).not.toContain("kycgw_");
  });
});

test("no page has the token once it is revoked", async () => {
  const [record] = await listTokens(gateway.db, gateway.keys, "demo");
  await revokeToken(gateway.db, gateway.keys, String(record?.id), Date.now());
  for (const [path] of PAGES) {
    await expect.poll(async () => (await load(path, {})).html, { timeout: 5000 }).not.toContain("kycgw_");
  }
});

test("the log never has the token", () => {
  expect(gateway.logged()).not.toContain("kycgw_");
});

test("the system's table tells whose a connection is, by both of its ports", () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0FA0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 636 1
   1: 0100007F:9D5D 0100007F:0FA0 01 00000000:00000000 00:00000000 00000000  1000        0 637 1
   2: 0100007F:0FA0 0100007F:9D5D 01 00000000:00000000 00:00000000 00000000     0        0 638 1
   3: 0200007F:9D5D 0100007F:0FA0 01 00000000:00000000 00:00000000 00000000  1001        0 639 1`;
  expect(findOwners(table, 0x9d5d, 4000)).toEqual([1000, 1001]);
  expect(findOwners(table, 4000, 0x9d5d)).toEqual([0]);
  expect(findOwners(table, 1, 4000)).toEqual([]);
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
