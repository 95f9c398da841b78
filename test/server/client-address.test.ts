import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

const LIMIT = 3;
let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp({
    RATE_LIMIT: String(LIMIT),
    TRUSTED_PROXIES: "10.1.0.0/16, 192.0.2.1, 2001:db8:1::/48",
  });
});
afterAll(() => gateway.close());

/** A request without a token, and the address that the log has for it. */
async function request(remoteAddress: string, forwarded?: string | string[]) {
  const headers = forwarded === undefined ? {} : { "x-forwarded-for": forwarded };
  const answer = await gateway.app.inject({ url: "/v1/kyc", remoteAddress, headers });
  const line = gateway
    .logged()
    .split("\n")
    .find((text) => text.includes(String(answer.headers["request-id"])));
  return { status: answer.statusCode, address: JSON.parse(line ?? "{}").address };
}

describe("the client's address in the log", () => {
  test.each([
    ["the connection's, without a proxy", "198.51.100.7", undefined, "198.51.100.7"],
    ["the connection's, if an untrusted client names another", "198.51.100.7", "203.0.113.9", "198.51.100.7"],
    ["what a trusted proxy names", "10.1.2.3", "203.0.113.9", "203.0.113.9"],
    ["what a trusted proxy on an IPv6 socket names", "::ffff:10.1.2.3", "203.0.113.9", "203.0.113.9"],
    ["what a trusted IPv6 proxy names", "2001:db8:1::5", "2001:db8:ffff::1", "2001:db8:ffff::1"],
    ["the one before several trusted proxies", "10.1.2.3", "203.0.113.9, 192.0.2.1, 10.1.9.9", "203.0.113.9"],
    [
      "the last untrusted one, whatever a client has put before it",
      "10.1.2.3",
      "10.1.1.1, 1.2.3.4, 203.0.113.9",
      "203.0.113.9",
    ],
    ["the proxy's own, if it names none", "10.1.2.3", undefined, "10.1.2.3"],
    ["without the port that some proxies add", "10.1.2.3", "203.0.113.9:50123", "203.0.113.9"],
    ["without the port after an IPv6 address", "10.1.2.3", "[2001:db8::7]:50123", "2001:db8::7"],
    ["the proxy's own, if it passes on what is no address", "10.1.2.3", "X1234567", "10.1.2.3"],
    ["the proxy's own, if it passes on markup", "10.1.2.3", "<script>, 10.1.0.1", "10.1.2.3"],
  ])("is %s", async (_, remote, forwarded, address) => {
    expect((await request(remote, forwarded)).address).toBe(address);
  });
});

test("clients behind a trusted proxy have a limit of their own each, and those of others share that of the connection", async () => {
  const statuses = async (remote: string, client: (n: number) => string) => {
    const all = [];
    for (let n = 0; n < LIMIT + 2; n++) all.push((await request(remote, client(n))).status);
    return all;
  };
  expect(await statuses("10.1.77.1", () => "203.0.113.50")).toEqual([401, 401, 401, 429, 429]);
  expect(await statuses("10.1.77.1", (n) => `203.0.113.6${n}`)).toEqual([401, 401, 401, 401, 401]);
  expect(await statuses("198.51.100.99", (n) => `203.0.113.7${n}`)).toEqual([401, 401, 401, 429, 429]);
});

test("a line of the log names its level in words", async () => {
  const { address } = await request("198.51.100.8");
  expect(address).toBe("198.51.100.8");
  const levels = gateway
    .logged()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).level);
  expect(new Set(levels)).toContain("info");
  expect(levels.every((level) => typeof level === "string")).toBe(true);
});

test("IPv6 clients share the limit of their /64 network, however the address is written", async () => {
  const from = async (client: string) => (await request("10.1.2.3", client)).status;
  const spellings = ["2001:db8:5:6::1", "2001:DB8:5:6:ffff:ffff:0:1", "2001:0db8:0005:0006:0::9"];
  for (const client of spellings) expect(await from(client)).toBe(401);
  expect(await from("2001:db8:5:6::abcd")).toBe(429);
  expect(await from("2001:db8:5:7::1")).toBe(401);
  expect(await from("2001:db8:5::6")).toBe(401);
  for (const client of ["::1", "::2", "fe80::1%eth0", "64:ff9b::192.0.2.1"])
    expect(await from(client)).toBe(401);
  expect(await from("203.0.113.66")).toBe(401);
});
