import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import { findListUrlFault, findUsageFault } from "../../src/cli/import-source.ts";
import { openWalk } from "../../src/import/walk-list.ts";
import {
  answer,
  FAULTS,
  type LegacyBehaviour,
  type LegacyRecord,
  type LegacyServer,
  startLegacyServer,
} from "../support/legacy-list.ts";

const opened: LegacyServer[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((server) => server.close()));
});

const idOf = (n: number) => `Legacy${String(n).padStart(10, "0")}`;
const record = (n: number): LegacyRecord => ({
  id: idOf(n),
  customer_id: `cus_${n}`,
  verification_status: "verified",
  document_type: "passport",
  document_number: `P${n}`,
  created_at: 1_704_103_200,
  updated_at: 1_704_103_200,
});
const many = (count: number) => Array.from({ length: count }, (_, n) => record(n));

async function serve(records: LegacyRecord[], behaviour: LegacyBehaviour = {}): Promise<LegacyServer> {
  const server = await startLegacyServer(records, behaviour);
  opened.push(server);
  return server;
}

/** Walks the list, and returns the customers of the entries with what was said. */
async function walk(url: string, { pageSize = 10, pageMs = 60_000 } = {}) {
  const said: string[] = [];
  const list = {
    ...{ url: new URL(url), token: "secret-token", limits: { pageMs, idleMs: pageMs / 2, pauseMs: 1 } },
    onWait: (reason: string) => said.push(reason),
  };
  const onWarning = (message: string) => said.push(message);
  const entries = [];
  for await (const some of openWalk({ list, pageSize, ignoresUnknown: false, onWarning }).entries) {
    entries.push(...some);
  }
  return { entries, ids: entries.map(({ values, id }) => values?.id ?? id), said };
}

test("a list of several pages is read once, with numbers in its order, and its start again at the end", async () => {
  const server = await serve(many(25));
  const { entries, ids, said } = await walk(`${server.url}?customer_id=a%20b`);
  expect(ids).toEqual(many(25).map(({ id }) => id));
  expect(entries.map(({ line }) => line)).toEqual(Array.from({ length: 25 }, (_, n) => n + 1));
  expect(entries[3]?.values).toMatchObject({ customerId: "cus_3", createdAt: 1_704_103_200 });
  expect(server.asked.map(({ after }) => after)).toEqual([null, idOf(9), idOf(19), null]);
  expect(new Set(server.asked.map(({ authorization }) => authorization))).toEqual(
    new Set(["Bearer secret-token"]),
  );
  expect(said).toEqual([]);
});

test.each(Object.entries(FAULTS))("a page is asked for again after %s", async (name, fault) => {
  const server = await serve(many(25), { faults: [() => false, fault, () => false, fault] });
  const isSlow = ["no answer", "single bytes"].includes(name);
  const { ids } = await walk(server.url, isSlow ? { pageMs: 500 } : {});
  expect(ids).toEqual(many(25).map(({ id }) => id));
});

test("a server that only fails ends the walk after some tries", async () => {
  const server = await serve(many(3), { faults: Array.from({ length: 50 }, () => answer(503)) });
  await expect(walk(server.url)).rejects.toThrow("the server answered 503, at 8 tries");
  expect(server.asked).toHaveLength(8);
});

test.each([
  [answer(429, "", { "retry-after": "86400" }), "answered 429 and asks to wait 86400 s"],
  [answer(401), "refuses the token"],
  [answer(403), "refuses the token"],
  [answer(404), "the server answered 404. Is the URL that of a list"],
  [answer(302, "", { location: "http://localhost:1/v1/kyc" }), "redirects to another origin"],
  [answer(301, "", { location: "?again" }), "redirects more than 5 times"],
  [answer(200, " ".repeat(17 * 2 ** 20)), "a page has more than 16 MiB"],
  [
    (response: Parameters<(typeof FAULTS)["500"] & {}>[0]) => {
      const body = gzipSync(" ".repeat(17 * 2 ** 20));
      response.writeHead(200, { "content-encoding": "gzip" }).end(body);
      return true;
    },
    "a page has more than 16 MiB",
  ],
])("an answer that does not pass ends the walk %#: %s", async (fault, message) => {
  const server = await serve(many(3), { faults: Array.from({ length: 10 }, () => fault) });
  await expect(walk(server.url)).rejects.toThrow(message as string);
  expect(server.asked).toHaveLength((message as string).includes("5 times") ? 6 : 1);
});

test("a redirect within the origin is followed", async () => {
  const server = await serve(many(5), {
    faults: [answer(307, "", { location: "/moved/kyc?limit=10" })],
  });
  expect((await walk(server.url)).ids).toHaveLength(5);
});

describe.each(["start", "400"] as const)("if an unknown cursor is taken as %s", (unknownCursor) => {
  test("records that are there all the time are read once, whatever is added and deleted meanwhile", async () => {
    const kept = (n: number) => n % 10 < 7;
    const server = await serve(many(300), {
      unknownCursor,
      onRequest: (legacy, request) => {
        const { after } = legacy.asked.at(-1) as (typeof legacy.asked)[number];
        if (request % 3 === 0) legacy.records.unshift(record(1000 + request));
        // The record that the cursor names, and some around it.
        const at = legacy.records.findIndex(({ id }) => id === after);
        const isDoomed = ({ id }: LegacyRecord, index: number) =>
          at >= 0 && Math.abs(index - at) < 3 && !kept(Number(id.slice(6)));
        if (request % 2 === 0) legacy.records = legacy.records.filter((one, n) => !isDoomed(one, n));
      },
    });
    const { ids } = await walk(server.url);
    expect(new Set(ids).size).toBe(ids.length);
    const found = new Set(ids);
    const lost = many(300).filter(({ id }) => !found.has(id) && kept(Number(id.slice(6))));
    expect(lost).toEqual([]);
    expect(server.asked.length).toBeLessThan(400);
  });
});

test("changed records that move to the front are read once, and none behind them is lost", async () => {
  const server = await serve(many(100), {
    onRequest: (legacy, request) => {
      if (request > 8) return;
      const [moved] = legacy.records.splice(legacy.records.length - request, 1);
      if (moved) legacy.records.unshift({ ...moved, verification_status: "failed" });
    },
  });
  const { ids } = await walk(server.url);
  expect([...ids].sort()).toEqual(many(100).map(({ id }) => id));
});

test("records on several pages are read once", async () => {
  const server = await serve(many(40).flatMap((one, n) => (n % 4 === 0 ? [one, one] : [one])));
  expect((await walk(server.url, { pageSize: 7 })).ids).toEqual(many(40).map(({ id }) => id));
});

test("a server that always has more is read to the end of its records", async () => {
  const server = await serve(many(25), { hasMore: true });
  const { ids, said } = await walk(server.url);
  expect(ids).toHaveLength(25);
  expect(said.join()).toContain("more records, and sends none");
});

test("a server without cursors is read with ever larger limits, as far as it knows them", async () => {
  const behaviour = { hasCursors: false };
  const server = await serve(many(95), behaviour);
  expect((await walk(server.url)).ids).toHaveLength(95);
  const other = await serve(many(95), { ...behaviour, largestLimit: 50 });
  await expect(walk(other.url)).rejects.toThrow("knows neither starting_after nor a larger limit");
  const endless = await serve(many(30), { ...behaviour, hasMore: true });
  await expect(walk(endless.url)).rejects.toThrow("knows neither starting_after nor a larger limit");
});

test("records that are none are named once, with their ids if they have the shape of ids", async () => {
  const list = [
    record(1),
    "text",
    { ...record(2), id: "P12345" },
    { ...record(3), error: {} },
    null,
    record(4),
  ];
  const server = await serve(list as LegacyRecord[]);
  const { entries } = await walk(server.url, { pageSize: 2 });
  expect(entries.map(({ line, id, faults }) => [line, id, faults?.[0]?.message])).toEqual([
    [1, idOf(1), undefined],
    [2, undefined, "is no JSON object"],
    [3, undefined, undefined],
    [4, idOf(3), 'has a field that no record has: "error"'],
    [5, undefined, "is no JSON object"],
    [6, idOf(4), undefined],
  ]);
});

test.each([
  ["https://legacy.example.com/v1/kyc?customer_id=c1", null],
  ["http://127.0.0.1:4000/v1/kyc", null],
  ["http://[::1]:4000/v1/kyc", null],
  ["http://localhost/v1/kyc", null],
  ["http://legacy.example.com/v1/kyc", "sent in clear"],
  ["http://127.0.0.1.example.com/v1/kyc", "sent in clear"],
  ["ftp://127.0.0.1/v1/kyc", "must begin with https://"],
  ["https://user:word@legacy.example.com/v1/kyc", "must not have a user name"],
  ["https://legacy.example.com/v1/kyc?limit=5", "must not have limit"],
  ["https://legacy.example.com/v1/kyc#list", "must not have a fragment"],
  ["legacy.example.com/v1/kyc", "must be a URL"],
])("the URL %s has the fault %s", (url, fault) => {
  if (fault === null) expect(findListUrlFault(url)).toBeNull();
  else expect(findListUrlFault(url)).toContain(fault);
});

test("a source is a file, or a URL with a token", () => {
  const others = { pageSize: 100, ignoreUnknown: false };
  const from = "https://legacy.example.com/v1/kyc";
  expect(findUsageFault(undefined, others)).toContain("give either");
  expect(findUsageFault("file", { ...others, from, tokenFile: "token" })).toContain("give either");
  expect(findUsageFault(undefined, { ...others, from })).toContain("need each other");
  expect(findUsageFault("file", { ...others, tokenFile: "token" })).toContain("need each other");
  expect(findUsageFault(undefined, { ...others, from, tokenFile: "token", format: "csv" })).toContain(
    "--format",
  );
  expect(findUsageFault(undefined, { ...others, from, tokenFile: "token" })).toBeNull();
});
