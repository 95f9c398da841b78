import { lookup as systemLookup } from "node:dns";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPolicy } from "../../src/webhooks/addresses.ts";
import { attempt, type Lookup } from "../../src/webhooks/attempt.ts";
import { findUrlFault } from "../../src/webhooks/url.ts";
import { type Receiver, startReceiver } from "../support/receiver.ts";

const NONE = createPolicy([]);
const REFUSED = "has an address that webhooks may not be sent to";

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver.close());

/** Resolves every name to these addresses. */
const answering =
  (...addresses: string[]): Lookup =>
  (_name, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
const send = (url: string, lookup?: Lookup, policy = NONE) =>
  attempt({
    account: "acme",
    ...{ url, policy, lookup, headers: {}, body: "{}", timeoutMs: 2000 },
    signal: new AbortController().signal,
  });

/** Addresses that are not on the internet. */
const ADDRESSES = [
  ...[
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
  ],
  ...[
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
  ],
  ...[
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
  ],
  ...["255.255.255.255", "::1", "::", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1"],
  // IPv4 in IPv6: mapped, compatible, translated, NAT64 of both kinds, 6to4, Teredo.
  ...["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::ffff:0:127.0.0.1"],
  ...[
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
  ],
  ...[
    "2001::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "2001:10::1",
    "2001:20::1",
    "3fff::1",
    "100::1",
    "5f00::1",
  ],
];
const PUBLIC = [
  "8.8.8.8",
  "1.1.1.1",
  "100.63.255.255",
  "100.128.0.1",
  "172.32.0.1",
  "2606:4700::1111",
  "2a00:1450::1",
];
/** Other spellings of 127.0.0.1, 10.0.0.1 and 169.254.169.254. */
const SPELLINGS = [
  ...[
    "2130706433",
    "0x7f000001",
    "017700000001",
    "127.1",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "127.0.1",
    "127.0.0.1.",
  ],
  ...[
    "0xA9FEA9FE",
    "2852039166",
    "0251.0376.0251.0376",
    "012.0.0.1",
    "167772161",
    "１２７.0.0.1",
    "127。0。0。1",
  ],
  ...["[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::ffff:169.254.169.254]", "[0::1]"],
];
const bracketed = (address: string) => (address.includes(":") ? `[${address}]` : address);

describe("addresses that are not on the internet", () => {
  test.each(ADDRESSES)(
    "%s is refused in a URL and at the connection, also as the answer of a name",
    async (address) => {
      expect(NONE.isPublic(address)).toBe(false);
      const url = `https://${bracketed(address)}:${receiver.port}/`;
      expect(findUrlFault(url, NONE)).toBe("must not be a private or local address");
      expect(await send(url)).toMatchObject({ status: null, result: REFUSED });
      const named = `https://receiver.example:${receiver.port}/`;
      expect(await send(named, answering(address))).toMatchObject({ status: null, result: REFUSED });
      expect(await send(named, answering("8.8.8.8", address))).toMatchObject({
        status: null,
        result: REFUSED,
      });
    },
  );

  test.each(SPELLINGS)("%s is refused", async (host) => {
    const url = `https://${host}:${receiver.port}/`;
    expect(findUrlFault(url, NONE)).toBe("must not be a private or local address");
    expect(await send(url)).toMatchObject({ status: null, result: REFUSED });
  });

  test.each(["localhost", "LOCALHOST", "localhost.", "x.localhost"])("%s is refused", async (host) => {
    const url = `https://${host}:${receiver.port}/`;
    expect(findUrlFault(url, NONE)).toBe("must not be a private or local address");
    expect(await send(url, systemLookup as Lookup)).toMatchObject({ status: null });
  });

  test("a name that changes its address between two attempts is refused in the second", async () => {
    const addresses = ["8.8.8.8", "127.0.0.1"];
    const asked: string[] = [];
    const lookup: Lookup = (_name, _options, callback) => {
      const address = addresses.shift() ?? "127.0.0.1";
      asked.push(address);
      // Nothing outside is connected to: the first answer is a failure of the look-up instead.
      if (address === "8.8.8.8") callback(Object.assign(new Error("no answer"), { code: "EAI_AGAIN" }), []);
      else callback(null, [{ address, family: 4 }]);
    };
    const url = `https://receiver.example:${receiver.port}/`;
    expect(await send(url, lookup)).toMatchObject({ result: "has a name that can't be resolved now" });
    expect(await send(url, lookup)).toMatchObject({ result: REFUSED });
    expect(asked).toHaveLength(2);
  });

  test("the environment's proxies are not used", async () => {
    const proxy = `http://127.0.0.1:${receiver.port}`;
    const before = { ...process.env };
    Object.assign(process.env, {
      HTTP_PROXY: proxy,
      HTTPS_PROXY: proxy,
      ALL_PROXY: proxy,
      NODE_USE_ENV_PROXY: "1",
    });
    try {
      expect(await send("https://10.0.0.1/")).toMatchObject({ status: null, result: REFUSED });
    } finally {
      process.env = before;
    }
    expect(receiver.received).toEqual([]);
  });
});

test.each(PUBLIC)("%s is public", (address) => {
  expect(NONE.isPublic(address)).toBe(true);
  expect(findUrlFault(`https://${bracketed(address)}/`, NONE)).toBeNull();
});

describe("networks that the operator allows", () => {
  const policy = createPolicy(["127.0.0.0/8", "fd00::/8"]);

  test("are reached, also without TLS, by address and by name", async () => {
    for (const [url, lookup] of [
      [receiver.url, undefined],
      [`http://receiver.example:${receiver.port}/`, answering("127.0.0.1")],
    ] as const) {
      expect(findUrlFault(url, policy)).toBeNull();
      expect(await send(url, lookup, policy)).toMatchObject({ status: 204 });
    }
  });

  test("don't open any other one, and without TLS not even the internet", async () => {
    expect(findUrlFault("https://10.0.0.1/", policy)).toBe("must not be a private or local address");
    expect(findUrlFault("http://8.8.8.8/", policy)).toBe("must begin with https://");
    expect(findUrlFault("https://8.8.8.8:22/", policy)).toMatch(/^must have the port 443/);
    expect(findUrlFault("https://127.0.0.1:22/", policy)).toBeNull();
    expect(await send("https://receiver.example:25/", answering("8.8.8.8"), policy)).toMatchObject({
      result: REFUSED,
    });
    for (const address of ["10.0.0.1", "8.8.8.8", "::1"])
      expect(await send("http://receiver.example/", answering(address), policy)).toMatchObject({
        result: REFUSED,
      });
  });
});

test.each([
  ["http://example.com/", "must begin with https://"],
  ["ftp://example.com/", "must begin with https://"],
  ["https://user:password@example.com/", "must not have a user name or password"],
  ["https://example.com/#here", "must not have a fragment"],
  ["https://example.com:22/", "must have the port 443, 80, or one from 1024 on"],
  ["not a URL", "must be a URL of at most 2048 characters, such as https://example.com/webhooks"],
])("%s is no URL of a webhook: it %s", (url, fault) => {
  expect(findUrlFault(url, NONE)).toBe(fault);
});
