import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { anyPageQuery, expectedPage, maybe, type PageQuery } from "../support/paging-model.ts";

type Field = "CREATED_AT" | "UPDATED_AT" | "STATUS_SINCE" | "EXPIRES_AT";
interface Order {
  field: Field;
  direction: "ASC" | "DESC";
}
interface Row {
  id: string;
  customerId: string;
  verificationStatus: string;
  documentType: string;
  createdAt: string;
  updatedAt: string;
  statusSince: string;
  expiresAt: string | null;
  deleted: boolean;
}

const FIELDS: Field[] = ["CREATED_AT", "UPDATED_AT", "STATUS_SINCE", "EXPIRES_AT"];
const ORDERS: Order[] = FIELDS.flatMap((field) =>
  (["ASC", "DESC"] as const).map((direction) => ({ field, direction })),
);
const NAMES = {
  CREATED_AT: "createdAt",
  UPDATED_AT: "updatedAt",
  STATUS_SINCE: "statusSince",
  EXPIRES_AT: "expiresAt",
} as const satisfies Record<Field, keyof Row>;
const MOMENTS = [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_777, 1_800_000_000_000];
const CUSTOMERS = ["a", "b, \"'c"];
const STATUSES = ["PENDING", "VERIFIED", "FAILED"];
const TYPES = ["PASSPORT", "VISA"];
const COUNT = 40;

const time = (millis: number | undefined) => millis && new Date(millis).toISOString();
const pick = <T>(list: readonly T[], index: number) => list[index % list.length] as T;
const keyOf = (row: Row, { field }: Order) =>
  row[NAMES[field]] === null ? Number.POSITIVE_INFINITY : Date.parse(row[NAMES[field]] as string);

let gateway: TestApp;
let token: string;
/** Every record that ever was, in each order, with its cursor there. */
const inOrder = new Map<Order, (Row & { cursor: string; index: number })[]>();

const RECORD = "id customerId verificationStatus documentType createdAt updatedAt statusSince expiresAt";
const PAGE = `query ($first: Int, $after: String, $last: Int, $before: String, $filter: KycFilter, $orderBy: KycOrder) {
  kycs(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
    edges { cursor node { ${RECORD} } }
    nodes { id }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
  statusCounts(filter: $filter) { status count }
}`;

async function run(document: string, variables: Record<string, unknown>) {
  const { data, errors } = await gateway.graphql(token, document, variables);
  expect(errors).toBeUndefined();
  return data;
}

beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  const ids: string[] = [];
  for (let n = 0; n < COUNT; n++) {
    gateway.clock.now = pick(MOMENTS, n * 7);
    const { createKyc } = await run(
      "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }",
      {
        input: {
          ...{ customerId: pick(CUSTOMERS, n), verificationStatus: pick(STATUSES, n >> 1) },
          ...{ documentType: pick(TYPES, n >> 2), documentNumber: `N${n}` },
          expiresAt: n % 3 === 0 ? null : time(pick(MOMENTS, n) + 10),
        },
      },
    );
    ids.push(createKyc.kyc.id);
  }
  for (const [n, id] of ids.entries()) {
    gateway.clock.now = (MOMENTS[3] as number) + (n % 4);
    const change =
      n % 4 === 0
        ? { verificationStatus: pick(STATUSES, n >> 3) }
        : n % 4 === 1
          ? { expiresAt: n % 8 === 1 ? null : time(MOMENTS[2]) }
          : {};
    await run("mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { id } } }", {
      input: { id, ...change },
    });
  }
  gateway.clock.now = undefined;
  for (const order of ORDERS) {
    const { kycs } = await run(PAGE, { first: 100, orderBy: order });
    inOrder.set(
      order,
      kycs.edges.map(({ cursor, node }: { cursor: string; node: Row }, index: number) => ({
        ...{ ...node, cursor, index, deleted: ids.indexOf(node.id) % 5 === 0 },
      })),
    );
  }
  for (const row of inOrder.get(ORDERS[0] as Order) ?? [])
    if (row.deleted) await gateway.rest(token, "DELETE", `/v1/kyc/${row.id}`);
});
afterAll(() => gateway.close());

test.each(ORDERS)(
  "records are sorted by $field $direction, then by id; without an expiry is never",
  (order) => {
    const rows = inOrder.get(order) ?? [];
    const sorted = [...rows].sort((a, b) => {
      const [x, y] = [keyOf(a, order), keyOf(b, order)];
      return x === y ? (a.id < b.id ? -1 : 1) : x < y ? -1 : 1;
    });
    if (order.direction === "DESC") sorted.reverse();
    expect(rows).toHaveLength(COUNT);
    expect(rows.map(({ id }) => id)).toEqual(sorted.map(({ id }) => id));
  },
);

interface Span {
  from?: number | undefined;
  to?: number | undefined;
}
interface Filter {
  customerId?: string | undefined;
  customerIdIn?: string[] | undefined;
  verificationStatus?: string | undefined;
  verificationStatusIn?: string[] | undefined;
  documentType?: string | undefined;
  documentTypeIn?: string[] | undefined;
  createdAt?: Span | undefined;
  updatedAt?: Span | undefined;
  statusSince?: Span | undefined;
  expiresAt?: Span | undefined;
}
interface Query extends PageQuery {
  filter: Filter;
  order: Order;
}

function matches(row: Row, filter: Filter): boolean {
  const equal = (["customerId", "verificationStatus", "documentType"] as const).every(
    (name) =>
      (filter[name] === undefined || row[name] === filter[name]) &&
      (filter[`${name}In`]?.includes(row[name]) ?? true),
  );
  return (
    equal &&
    (["createdAt", "updatedAt", "statusSince", "expiresAt"] as const).every((name) => {
      const { from, to } = filter[name] ?? {};
      if (from === undefined && to === undefined) return true;
      const at = row[name] === null ? Number.NaN : Date.parse(row[name] as string);
      return at >= (from ?? Number.NEGATIVE_INFINITY) && at < (to ?? Number.POSITIVE_INFINITY);
    })
  );
}

const span = (): fc.Arbitrary<Span | undefined> => {
  const moment = maybe(fc.constantFrom(...MOMENTS, ...MOMENTS.map((at) => at + 2)));
  return maybe(fc.record({ from: moment, to: moment }));
};
const some = (values: string[]) => maybe(fc.array(fc.constantFrom(...values), { maxLength: 4 }));
const one = (values: string[]) => fc.option(fc.constantFrom(...values), { nil: undefined, freq: 4 });
const rarely = <T>(value: fc.Arbitrary<T | undefined>) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 2, arbitrary: value });
const query: fc.Arbitrary<Query> = fc
  .tuple(
    anyPageQuery(COUNT),
    fc.constantFrom(...ORDERS),
    fc.record({
      customerId: rarely(one([...CUSTOMERS, "nobody"])),
      customerIdIn: rarely(some([...CUSTOMERS, "nobody"])),
      verificationStatus: rarely(one(STATUSES)),
      verificationStatusIn: rarely(some([...STATUSES, "EXPIRED"])),
      documentType: rarely(one(TYPES)),
      documentTypeIn: rarely(some([...TYPES, "OTHER"])),
      createdAt: rarely(span()),
      updatedAt: rarely(span()),
      statusSince: rarely(span()),
      expiresAt: rarely(span()),
    }),
  )
  .map(([page, order, filter]) => ({ ...page, order, filter }));

function toVariables({ first, last, after, before, filter, order }: Query) {
  const cursorOf = (index: number | undefined) =>
    index === undefined ? null : inOrder.get(order)?.[index]?.cursor;
  const spans = Object.fromEntries(
    Object.values(NAMES).map((name) => [
      name,
      filter[name] && { from: time(filter[name].from), to: time(filter[name].to) },
    ]),
  );
  return {
    ...{ first, last, after: cursorOf(after), before: cursorOf(before), orderBy: order },
    filter: { ...filter, ...spans },
  };
}

async function expectModel(query: Query) {
  const { kycs, statusCounts } = await run(PAGE, toVariables(query));
  const rows = (inOrder.get(query.order) ?? []).filter((row) => !row.deleted && matches(row, query.filter));
  const { edges, nodes, pageInfo, totalCount } = kycs;
  const ids = nodes.map(({ id }: { id: string }) => id);
  expect(edges.map(({ node }: { node: Row }) => node.id)).toEqual(ids);
  expect({ ids, ...pageInfo, totalCount }).toEqual(expectedPage(rows, query));
  for (const { status, count } of statusCounts)
    expect(count).toBe(rows.filter((row) => row.verificationStatus === status).length);
  expect(statusCounts).toHaveLength(5);
}

test("every order with every filter and any page answers as the model does", async () => {
  await fc.assert(fc.asyncProperty(query, expectModel), { numRuns: 200 });
}, 60_000);

test.each(ORDERS)("walking $field $direction in both directions meets every record once", async (order) => {
  for (const [count, cursor, place, more] of [
    ["first", "after", "endCursor", "hasNextPage"],
    ["last", "before", "startCursor", "hasPreviousPage"],
  ] as const) {
    const seen: string[][] = [];
    let at: string | null = null;
    for (let turn = 0; turn < 20; turn++) {
      const { kycs } = await run(PAGE, { [count]: 7, [cursor]: at, orderBy: order });
      seen.push(kycs.nodes.map(({ id }: { id: string }) => id));
      at = kycs.pageInfo[place];
      if (!kycs.pageInfo[more]) break;
    }
    const all = (count === "first" ? seen : seen.reverse()).flat();
    expect(all).toEqual((inOrder.get(order) ?? []).filter((row) => !row.deleted).map(({ id }) => id));
  }
});

describe("a cursor", () => {
  const ids = async (variables: Record<string, unknown>) =>
    (await run(PAGE, variables)).kycs.nodes.map(({ id }: { id: string }) => id);
  const rowsOf = (field: Field, direction: Order["direction"]) =>
    inOrder.get(ORDERS.find((order) => order.field === field && order.direction === direction) as Order) ??
    [];

  test("is good in the other direction of its order", async () => {
    const rows = rowsOf("STATUS_SINCE", "ASC");
    const { cursor, index } = rows[20] as (typeof rows)[number];
    const orderBy = { field: "STATUS_SINCE", direction: "DESC" };
    const expected = rows
      .slice(0, index)
      .reverse()
      .filter((row) => !row.deleted);
    expect(await ids({ first: 100, after: cursor, orderBy })).toEqual(expected.map(({ id }) => id));
  });

  test("is good with another filter", async () => {
    const rows = rowsOf("UPDATED_AT", "DESC");
    const { cursor, index } = rows[10] as (typeof rows)[number];
    const filter = { verificationStatusIn: ["PENDING"] };
    const expected = rows
      .slice(index + 1)
      .filter((row) => !row.deleted && row.verificationStatus === "PENDING");
    const page = { first: 100, after: cursor, orderBy: { field: "UPDATED_AT" } };
    expect(await ids({ ...page, filter })).toEqual(expected.map(({ id }) => id));
  });

  test("of another order is refused, and the error names both orders", async () => {
    const [row] = rowsOf("EXPIRES_AT", "ASC");
    for (const [name, orderBy] of [
      ["after", undefined],
      ["before", { field: "STATUS_SINCE" }],
    ] as const) {
      const { errors } = await gateway.graphql(token, PAGE, { [name]: row?.cursor, orderBy });
      expect(errors?.[0]?.extensions.fields).toEqual([
        {
          path: name,
          message: `is a cursor of the order EXPIRES_AT, and this list has the order ${orderBy?.field ?? "CREATED_AT"}`,
        },
      ]);
    }
  });

  test("that is a record's id is its position in any order, and of a deleted record in the order of creation", async () => {
    const rows = rowsOf("EXPIRES_AT", "DESC");
    const alive = rows.find((row) => !row.deleted && row.index > 5) as (typeof rows)[number];
    const expected = rows.slice(alive.index + 1).filter((row) => !row.deleted);
    const orderBy = { field: "EXPIRES_AT" };
    expect(await ids({ first: 100, after: alive.id, orderBy })).toEqual(expected.map(({ id }) => id));
    const dead = rows.find((row) => row.deleted) as (typeof rows)[number];
    expect(await ids({ first: 100, after: dead.id })).not.toHaveLength(0);
    const { errors } = await gateway.graphql(token, PAGE, { after: dead.id, orderBy });
    expect(errors?.[0]?.extensions.fields?.map(({ path }) => path)).toEqual(["after"]);
  });

  test("has the time of its order and the id, and nothing else of the record", () => {
    for (const order of ORDERS) {
      for (const row of inOrder.get(order) ?? []) {
        const [id, at, ...name] = Buffer.from(row.cursor, "base64url").toString().split(":").reverse();
        expect(id).toBe(row.id);
        expect(at).toBe(keyOf(row, order) === Number.POSITIVE_INFINITY ? "never" : String(keyOf(row, order)));
        expect(name).toEqual(order.field === "CREATED_AT" ? [] : [order.field.toLowerCase()]);
      }
    }
  });
});

test("lists of more than 100 values, and times in no year, are refused, all at once", async () => {
  const customerIdIn = Array.from({ length: 101 }, (_, n) => `c${n}`);
  const verificationStatusIn = Array(101).fill("PENDING");
  const { errors } = await gateway.graphql(token, PAGE, { filter: { customerIdIn, verificationStatusIn } });
  expect(errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT" });
  expect(errors?.[0]?.extensions.fields?.map(({ path }) => path)).toEqual([
    "filter.customerIdIn",
    "filter.verificationStatusIn",
  ]);
  const late = await gateway.graphql(
    token,
    `mutation { createKyc(input: { customerId: "c", verificationStatus: PENDING, documentType: VISA, documentNumber: "1",
      expiresAt: "9999-12-31T23:59:59.9999Z" }) { kyc { id } } }`,
  );
  expect(late.errors?.[0]?.extensions.fields?.map(({ path }) => path)).toEqual(["input.expiresAt"]);
});

test("a list that is empty, and lists that exclude each other, match nothing and ask the database nothing", async () => {
  for (const filter of [
    { documentTypeIn: [] },
    { customerIdIn: [] },
    { verificationStatus: "PENDING", verificationStatusIn: ["VERIFIED"] },
  ]) {
    const { kycs, statusCounts } = await run(PAGE, { filter });
    expect([kycs.nodes, kycs.totalCount, kycs.pageInfo.hasNextPage]).toEqual([[], 0, false]);
    expect(statusCounts.every(({ count }: { count: number }) => count === 0)).toBe(true);
  }
});
