import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";

interface Entry {
  id: string;
  customer: string;
  status: string;
  createdAt: number;
  deleted: boolean;
}
interface Page {
  ids: string[];
  more: boolean;
}

const START = Date.parse("2026-03-01T00:00:00Z");
const NEVER = "AAAAAAAAAAAAAAAA";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterEach(() => {
  gateway.clock.now = undefined;
});
afterAll(() => gateway.close());

async function create(
  token: string,
  { at, customer = "one", status = "pending" }: { at: number; customer?: string; status?: string },
): Promise<Entry> {
  gateway.clock.now = START + at;
  const answer = await gateway.rest(token, "POST", "/v1/kyc", {
    form: {
      customer_id: customer,
      verification_status: status,
      document_type: "passport",
      document_number: "1",
    },
  });
  expect(answer.statusCode).toBe(201);
  return { id: answer.json().id, customer, status, createdAt: START + at, deleted: false };
}

/** As many records, each a millisecond newer than the one before it; the newest first. */
async function createMany(token: string, count: number): Promise<string[]> {
  const entries: Entry[] = [];
  for (let at = 0; at < count; at++) entries.unshift(await create(token, { at }));
  return entries.map(({ id }) => id);
}

async function remove(token: string, id: string | undefined): Promise<void> {
  expect((await gateway.rest(token, "DELETE", `/v1/kyc/${id}`)).statusCode).toBe(200);
}

async function list(token: string, params: Record<string, string | number | undefined> = {}): Promise<Page> {
  const given = Object.entries(params).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as const],
  );
  const answer = await gateway.rest(
    token,
    "GET",
    `/v1/kyc?${new URLSearchParams(Object.fromEntries(given))}`,
  );
  expect(answer.statusCode).toBe(200);
  const { data, has_more } = answer.json();
  return { ids: data.map((record: { id: string }) => record.id), more: has_more };
}

/** The newest first; ids sort by their bytes, as JavaScript sorts these strings. */
function newestFirst(entries: Entry[]): Entry[] {
  return [...entries].sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1));
}

/** Every page to the end, read from the first page or, `backward`, from the page before the given id. */
async function walk(token: string, limit: number, before?: string): Promise<string[]> {
  const pages: string[][] = [];
  let cursor = before;
  for (;;) {
    const { ids, more } = await list(token, {
      limit,
      [before === undefined ? "starting_after" : "ending_before"]: cursor,
    });
    if (before === undefined) pages.push(ids);
    else pages.unshift(ids);
    if (!more) return pages.flat();
    expect(ids).toHaveLength(limit);
    cursor = before === undefined ? ids.at(-1) : ids[0];
  }
}

describe("pages", () => {
  let token: string;
  let ids: string[];
  beforeAll(async () => {
    token = await gateway.token(randomUUID());
    ids = await createMany(token, 7);
  });

  test("start at the newest record", async () => {
    expect(await list(token, { limit: 3 })).toEqual({ ids: ids.slice(0, 3), more: true });
    expect(await list(token)).toEqual({ ids, more: false });
  });

  test("that start after a record hold the older ones next to it, the newest first", async () => {
    expect(await list(token, { limit: 3, starting_after: ids[1] })).toEqual({
      ids: ids.slice(2, 5),
      more: true,
    });
  });

  test("that end before a record hold the newer ones next to it, the newest first", async () => {
    expect(await list(token, { limit: 3, ending_before: ids[5] })).toEqual({
      ids: ids.slice(2, 5),
      more: true,
    });
  });

  test("say has_more of older records only, when they go to older ones", async () => {
    expect(await list(token, { limit: 4, starting_after: ids[2] })).toEqual({
      ids: ids.slice(3),
      more: false,
    });
    expect(await list(token, { limit: 3, starting_after: ids[2] })).toMatchObject({ more: true });
  });

  test("say has_more of newer records only, when they go to newer ones", async () => {
    expect(await list(token, { limit: 4, ending_before: ids[4] })).toEqual({
      ids: ids.slice(0, 4),
      more: false,
    });
    expect(await list(token, { limit: 3, ending_before: ids[4] })).toMatchObject({ more: true });
  });

  test("after the oldest and before the newest record are empty", async () => {
    expect(await list(token, { starting_after: ids[6] })).toEqual({ ids: [], more: false });
    expect(await list(token, { ending_before: ids[0] })).toEqual({ ids: [], more: false });
  });

  test.each([1, 2, 3, 7, 100])("of %i give every record once, forwards and backwards", async (limit) => {
    expect(await walk(token, limit)).toEqual(ids);
    const oldest = ids.at(-1);
    expect(await walk(token, limit, oldest)).toEqual(ids.slice(0, -1));
  });
});

describe("cursors", () => {
  test("stand where their record stood, after it was deleted", async () => {
    const token = await gateway.token(randomUUID());
    const ids = await createMany(token, 5);
    await remove(token, ids[2]);
    expect(await list(token, { starting_after: ids[2] })).toEqual({ ids: ids.slice(3), more: false });
    expect(await list(token, { ending_before: ids[2] })).toEqual({ ids: ids.slice(0, 2), more: false });
    expect(await list(token, { starting_after: ids[2], limit: 1 })).toEqual({ ids: [ids[3]], more: true });
    expect(await list(token, { ending_before: ids[2], limit: 1 })).toEqual({ ids: [ids[1]], more: true });
  });

  test("still work when every record was deleted", async () => {
    const token = await gateway.token(randomUUID());
    const ids = await createMany(token, 2);
    for (const id of ids) await remove(token, id);
    expect(await list(token, { starting_after: ids[0] })).toEqual({ ids: [], more: false });
    expect(await list(token, { ending_before: ids[1] })).toEqual({ ids: [], more: false });
  });

  test("a walk in which each page is deleted once it was read still meets every record", async () => {
    const token = await gateway.token(randomUUID());
    const ids = await createMany(token, 6);
    const met: string[] = [];
    for (let page = await list(token, { limit: 2 }); ; ) {
      met.push(...page.ids);
      for (const id of page.ids) await remove(token, id);
      if (!page.more) break;
      page = await list(token, { limit: 2, starting_after: page.ids.at(-1) });
    }
    expect(met).toEqual(ids);
  });

  test("of a record that a filter leaves out work in the filtered list", async () => {
    const token = await gateway.token(randomUUID());
    const entries: Entry[] = [];
    for (const at of [0, 1, 2, 3, 4]) {
      entries.unshift(await create(token, { at, customer: at % 2 === 0 ? "even" : "odd" }));
    }
    const ids = entries.map(({ id }) => id);
    expect(await list(token, { customer_id: "even", starting_after: ids[1] })).toEqual({
      ids: [ids[2], ids[4]],
      more: false,
    });
    expect(await list(token, { customer_id: "odd", ending_before: ids[2], limit: 1 })).toEqual({
      ids: [ids[1]],
      more: false,
    });
    await remove(token, ids[1]);
    expect(await list(token, { customer_id: "even", ending_before: ids[1] })).toEqual({
      ids: [ids[0]],
      more: false,
    });
  });

  test("keep their place when their record is changed", async () => {
    const token = await gateway.token(randomUUID());
    const ids = await createMany(token, 3);
    gateway.clock.now = START + 1000;
    await gateway.rest(token, "PUT", `/v1/kyc/${ids[2]}`, { form: { verification_status: "verified" } });
    expect(await list(token)).toEqual({ ids, more: false });
    expect(await list(token, { ending_before: ids[2] })).toEqual({ ids: ids.slice(0, 2), more: false });
  });

  test("say has_more of matching records only", async () => {
    const token = await gateway.token(randomUUID());
    const old = await create(token, { at: 0, status: "failed" });
    const match = await create(token, { at: 1, status: "verified" });
    const recent = await create(token, { at: 2, status: "failed" });
    const verified = { verification_status: "verified", limit: 1 };
    expect(await list(token, { ...verified, starting_after: recent.id })).toEqual({
      ids: [match.id],
      more: false,
    });
    expect(await list(token, { ...verified, ending_before: old.id })).toEqual({
      ids: [match.id],
      more: false,
    });
  });

  test.each(["starting_after", "ending_before"])(
    "as %s must be ids that this account has or had",
    async (name) => {
      const token = await gateway.token(randomUUID());
      const other = await gateway.token(randomUUID());
      const [foreign, deleted] = await createMany(other, 2);
      await remove(other, deleted);
      const refused = [];
      for (const id of [NEVER, foreign, deleted]) {
        const answer = await gateway.rest(token, "GET", `/v1/kyc?${name}=${id}`);
        expect(answer.statusCode).toBe(400);
        expect(answer.json().error).toMatchObject({ code: "parameter_invalid", param: name });
        refused.push(answer.body);
      }
      expect(new Set(refused).size).toBe(1);
    },
  );

  test.each(["starting_after", "ending_before"])("as %s can't be of another shape", async (name) => {
    const token = await gateway.token(randomUUID());
    const [id] = await createMany(token, 1);
    const graphqlCursor = Buffer.from(`${START}:${id}`).toString("base64url");
    for (const cursor of ["", "x", `${id}x`, ` ${id}`, graphqlCursor]) {
      const answer = await gateway.rest(token, "GET", `/v1/kyc?${name}=${encodeURIComponent(cursor)}`);
      expect(answer.statusCode).toBe(400);
      expect(answer.json().error).toMatchObject({
        code: "parameter_invalid",
        param: name,
        message: `${name} must be the id of a record`,
      });
    }
  });
});

describe("records of one millisecond", () => {
  test("have one order, and are each met once in both directions, page by page", async () => {
    const token = await gateway.token(randomUUID());
    const entries: Entry[] = [];
    for (const at of [0, 1, 1, 1, 1, 1, 1, 2]) entries.push(await create(token, { at }));
    const ids = newestFirst(entries).map(({ id }) => id);
    for (const limit of [1, 2, 3]) {
      expect(await walk(token, limit)).toEqual(ids);
      expect(await walk(token, limit, ids.at(-1))).toEqual(ids.slice(0, -1));
    }
  });

  test("can be cursors when they are deleted", async () => {
    const token = await gateway.token(randomUUID());
    const entries: Entry[] = [];
    for (let i = 0; i < 5; i++) entries.push(await create(token, { at: 0 }));
    const ids = newestFirst(entries).map(({ id }) => id);
    await remove(token, ids[2]);
    expect(await list(token, { starting_after: ids[2] })).toEqual({ ids: ids.slice(3), more: false });
    expect(await list(token, { ending_before: ids[2] })).toEqual({ ids: ids.slice(0, 2), more: false });
  });
});

describe("whatever is asked of a list", () => {
  const CUSTOMERS = ["one", "two"];
  const STATUSES = ["pending", "verified"];
  let token: string;
  let entries: Entry[];
  beforeAll(async () => {
    token = await gateway.token(randomUUID());
    entries = [];
    // Four times as many records as milliseconds, so that ties and filters cross everywhere.
    for (let i = 0; i < 40; i++) {
      entries.push(
        await create(token, {
          at: Math.floor(i / 4),
          customer: CUSTOMERS[i % 2] as string,
          status: STATUSES[Math.floor(i / 3) % 2] as string,
        }),
      );
    }
    entries = newestFirst(entries);
    for (const [index, entry] of entries.entries()) {
      if (index % 3 !== 0) continue;
      await remove(token, entry.id);
      entry.deleted = true;
    }
  });

  test("the page is the one that the same question to an array gives", async () => {
    const question = fc.record(
      {
        limit: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constantFrom(100)),
        cursor: fc.nat(39),
        backward: fc.boolean(),
        customer: fc.constantFrom(...CUSTOMERS),
        status: fc.constantFrom(...STATUSES),
      },
      { requiredKeys: ["backward"] },
    );
    await fc.assert(
      fc.asyncProperty(question, async ({ limit, cursor, backward, customer, status }) => {
        const from = cursor === undefined ? undefined : entries[cursor]?.id;
        const page = await list(token, {
          limit,
          customer_id: customer,
          verification_status: status,
          [backward ? "ending_before" : "starting_after"]: from,
        });

        const beyond =
          cursor === undefined ? entries : backward ? entries.slice(0, cursor) : entries.slice(cursor + 1);
        const ids = beyond
          .filter((entry) => !entry.deleted)
          .filter((entry) => customer === undefined || entry.customer === customer)
          .filter((entry) => status === undefined || entry.status === status)
          .map(({ id }) => id);
        const size = limit ?? 10;
        // Without a cursor, a list goes from the newest record to older ones.
        const expected = backward && from !== undefined ? ids.slice(-size) : ids.slice(0, size);
        expect(page).toEqual({ ids: expected, more: ids.length > size });
      }),
      { numRuns: 150 },
    );
  });
});
