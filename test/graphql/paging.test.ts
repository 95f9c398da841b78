import fc from "fast-check";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { anyPageQuery, expectedPage, maybe, type PageQuery } from "../support/paging-model.ts";
import { createRecord } from "../support/records.ts";

interface Row {
  id: string;
  cursor: string;
  customer: string;
  createdAt: number;
  deleted: boolean;
}

const MILLISECONDS = [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_777, 1_800_000_000_000];
const CUSTOMERS = ["a", "b"];

let gateway: TestApp;
let token: string;
/** Every record that ever was, newest first. */
let rows: Row[];

const PAGE = `query ($first: Int, $after: String, $last: Int, $before: String, $filter: KycFilter) {
  kycs(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
    edges { cursor node { id } }
    nodes { id }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
}`;

beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  // Many ties in one millisecond, made in an order of their own.
  for (const index of Array(28).keys()) {
    gateway.clock.now = MILLISECONDS[(index * 7) % MILLISECONDS.length];
    await createRecord(gateway, token, { customerId: CUSTOMERS[index % 2] as string });
  }
  gateway.clock.now = undefined;
  const { data } = await gateway.graphql(
    token,
    "{ kycs(first: 100) { edges { cursor node { id customerId createdAt } } } }",
  );
  rows = data.kycs.edges.map(
    ({ cursor, node }: { cursor: string; node: Record<string, string> }, index: number) => ({
      id: node.id,
      cursor,
      customer: node.customerId,
      createdAt: Date.parse(node.createdAt as string),
      // Both ends and some in the middle are deleted before pages are read.
      deleted: index % 5 === 0 || index === 27,
    }),
  );
  for (const row of rows.filter((row) => row.deleted))
    await gateway.rest(token, "DELETE", `/v1/kyc/${row.id}`);
});
afterAll(() => gateway.close());

test("records are listed by time and id, the newest first", () => {
  const keys = rows.map((row) => `${row.createdAt} ${row.id}`);
  expect(keys).toHaveLength(28);
  expect(keys).toEqual([...keys].sort().reverse());
});

interface Query extends PageQuery {
  customer?: string | undefined;
  from?: number | undefined;
  to?: number | undefined;
}

function model({ customer, from, to, ...page }: Query) {
  const selected = rows
    .map((row, index) => ({ ...row, index }))
    .filter((row) => !row.deleted && (customer === undefined || row.customer === customer))
    .filter(
      (row) => (from === undefined || row.createdAt >= from) && (to === undefined || row.createdAt < to),
    );
  return expectedPage(selected, page);
}

async function read({ first, last, after, before, customer, from, to }: Query) {
  const { data, errors } = await gateway.graphql(token, PAGE, {
    first,
    last,
    after: after === undefined ? null : rows[after]?.cursor,
    before: before === undefined ? null : rows[before]?.cursor,
    filter: {
      customerId: customer ?? null,
      createdAt: { from: from && new Date(from).toISOString(), to: to && new Date(to).toISOString() },
    },
  });
  expect(errors).toBeUndefined();
  const { edges, nodes, pageInfo, totalCount } = data.kycs;
  expect(nodes.map((node: { id: string }) => node.id)).toEqual(
    edges.map((edge: { node: { id: string } }) => edge.node.id),
  );
  return { ids: nodes.map((node: { id: string }) => node.id), ...pageInfo, totalCount };
}

const query: fc.Arbitrary<Query> = fc
  .tuple(
    anyPageQuery(28),
    fc.record({
      customer: maybe(fc.constantFrom(...CUSTOMERS, "nobody")),
      from: maybe(fc.constantFrom(...MILLISECONDS)),
      to: maybe(fc.constantFrom(...MILLISECONDS)),
    }),
  )
  .map(([page, filter]) => ({ ...page, ...filter }));

test("every combination of arguments answers as the model does", async () => {
  await fc.assert(
    fc.asyncProperty(query, async (arguments_) => {
      expect(await read(arguments_)).toEqual(model(arguments_));
    }),
    { numRuns: 300 },
  );
});

test.each([
  ["first: 0", { first: 0 }],
  ["last: 0", { last: 0 }],
  ["first: 0 after the last", { first: 0, after: 27 }],
  ["first: 0 after the first", { first: 0, after: 0 }],
  ["last: 0 before the first", { last: 0, before: 0 }],
  ["the same cursor on both sides", { first: 5, after: 7, before: 7 }],
  ["cursors the wrong way round", { first: 5, after: 20, before: 3 }],
  ["before alone", { before: 15 }],
])("%s answers as the model does", async (_name, arguments_) => {
  expect(await read(arguments_)).toEqual(model(arguments_));
});

test("walking in either direction meets every record once", async () => {
  for (const [count, cursor, place] of [
    ["first", "after", "endCursor"],
    ["last", "before", "startCursor"],
  ] as const) {
    const seen: string[][] = [];
    let at: string | null = null;
    for (let turn = 0; turn < 20; turn++) {
      const { data } = await gateway.graphql(token, PAGE, { [count]: 3, [cursor]: at });
      const { nodes, pageInfo } = data.kycs;
      seen.push(nodes.map((node: { id: string }) => node.id));
      at = pageInfo[place];
      if (!(count === "first" ? pageInfo.hasNextPage : pageInfo.hasPreviousPage)) break;
    }
    const all = (count === "first" ? seen : seen.reverse()).flat();
    expect(all).toEqual(rows.filter((row) => !row.deleted).map((row) => row.id));
  }
});

test("page sizes outside 0 to 100 and both sizes at once are refused, all faults at once", async () => {
  const { errors } = await gateway.graphql(token, PAGE, { first: 101, last: -1, after: "nonsense" });
  expect(errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT" });
  expect(errors?.[0]?.extensions.fields?.map((fault) => fault.path).sort()).toEqual([
    "after",
    "first",
    "last",
    "last",
  ]);
});

test("cursors carry the time and the id of a record, and nothing else of it", () => {
  for (const { cursor, id, createdAt } of rows) {
    expect(Buffer.from(cursor, "base64url").toString()).toBe(`${createdAt}:${id}`);
  }
});

test("a cursor that names a record at a later time than its own leaves that record in the list", async () => {
  const newest = rows.find((row) => !row.deleted) as Row;
  const after = Buffer.from(`${newest.createdAt + 1}:${newest.id}`).toString("base64url");
  const { data } = await gateway.graphql(token, PAGE, { first: 100, after });
  expect(data.kycs.nodes.map(({ id }: { id: string }) => id)).toContain(newest.id);
  expect(data.kycs.pageInfo.hasPreviousPage).toBe(false);
});

test("equal counts of one moment are one statement, those of other filters are others", async () => {
  const sent = vi.spyOn(gateway.db, "send");
  const count = (name: string, customer: string) =>
    `${name}: kycs(first: 0, filter: { customerId: "${customer}" }) { totalCount }`;
  const { data } = await gateway.graphql(
    token,
    `{ ${count("a", "a")} ${count("again", "a")} ${count("b", "b")} all: kycs(first: 0) { totalCount } }`,
  );
  const statements = sent.mock.calls.filter(([text]) => text.includes("count(*)"));
  sent.mockRestore();
  const countOf = (customer: string) =>
    rows.filter((row) => !row.deleted && row.customer === customer).length;
  const [a, b] = [countOf("a"), countOf("b")];
  const counted = { a, again: a, b, all: a + b };
  for (const [name, totalCount] of Object.entries(counted)) expect(data[name]).toEqual({ totalCount });
  expect(statements).toHaveLength(3);
});

test("a list that is asked only for its count reads no page, and one that is not asked counts nothing", async () => {
  const statements = async (document: string) => {
    const sent = vi.spyOn(gateway.db, "send");
    await gateway.graphql(token, document);
    const texts = sent.mock.calls.map(([text]) => text);
    sent.mockRestore();
    return texts.filter((text) => text.includes('from "kycs"'));
  };
  const counting = await statements("{ kycs { totalCount } }");
  const paging = await statements("{ kycs { nodes { id } pageInfo { hasNextPage } } }");
  expect(counting).toEqual([expect.stringContaining("count(*)")]);
  expect(paging).toEqual([expect.not.stringContaining("count(*)")]);
});

test("a range of years that PostgreSQL can't write is a range nevertheless", async () => {
  const { data, errors } = await gateway.graphql(
    token,
    `{ kycs(filter: { createdAt: { from: "0000-01-01T00:00:00Z", to: "9999-12-31T23:59:59.999Z" } }) { totalCount } }`,
  );
  expect(errors).toBeUndefined();
  expect(data.kycs.totalCount).toBe(rows.filter((row) => !row.deleted).length);
});
