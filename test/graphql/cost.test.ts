import fc from "fast-check";
import { buildSchema, getIntrospectionQuery, getOperationAST, parse } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { costOf } from "../../src/graphql/documents/cost.ts";
import { schema } from "../../src/graphql/schema.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { cpuTime } from "../support/cpu-time.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp({ QUERY_ALIAS_LIMIT: "5", QUERY_DIRECTIVE_LIMIT: "5" });
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

function measure(query: string, variables: Record<string, unknown> = {}): number {
  const document = parse(query);
  const operation = getOperationAST(document);
  if (!operation) throw new Error("no operation");
  return costOf(schema, document, operation)(variables);
}

test.each([
  ["{ kyc(id: 1) { id version } }", 3],
  ["{ kycs { nodes { id } } }", 1 + 10 * 2],
  ["{ kycs(first: 3) { nodes { id } } }", 1 + 3 * 2],
  ["{ kycs(first: null, last: 100) { nodes { id } } }", 1 + 100 * 2],
  ["{ kycs(last: 100, first: null) { nodes { id } } }", 1 + 100 * 2],
  ["{ kycs(first: null, last: null) { nodes { id } } }", 1 + 10 * 2],
  ["{ kycs(first: 2, last: 3) { nodes { id } } }", 1 + 3 * 2],
  ["{ kycs(first: -2147483648) { nodes { id } } }", 1 + 2],
  ["{ kycs(first: 0) { nodes { id } } }", 1 + 2],
  ["{ kycs(first: 99999999) { nodes { id } } }", 1 + 100 * 2],
  ["{ kycs(first: 0) { totalCount } }", 1 + 50],
  ["{ kycs(first: 100) { ...c nodes { id } } } fragment c on KycConnection { totalCount }", 1 + 50 + 100 * 2],
  ["{ kycs(first: 100) { nodes { history(first: 0) { totalCount } } } }", 1 + 100 * (1 + 1 + 50)],
  ["{ auditEvents(first: 100) { nodes { sequence kycIds } } }", 1 + 100 * (1 + 1 + 50)],
  ["{ kycs(filter: { createdAt: {}, customerId: null }) { nodes { id } } }", 1 + 10 * 2],
  ["{ kycs(filter: { createdAt: {}, updatedAt: {} }) { nodes { id } } }", 1 + 600 + 10 * 2],
  ["{ kycs(filter: { statusSince: null, expiresAt: {} }) { nodes { id } } }", 1 + 300 + 10 * 2],
  [
    '{ kycs(filter: { customerId: "c" }, orderBy: { field: UPDATED_AT }) { nodes { id } } }',
    1 + 300 + 10 * 2,
  ],
  [
    "{ kycs(filter: { verificationStatus: FAILED }, orderBy: { field: UPDATED_AT }) { nodes { id } } }",
    1 + 10 * 2,
  ],
  ['{ nodes(ids: ["a", "b"]) { id } }', 1 + 2],
  ["{ nodes(ids: []) { id } }", 1 + 1],
])("%s costs %i", (query, cost) => {
  expect(measure(query)).toBe(cost);
});

test("a filter that can be a search costs the same in variables, whole or in part, whatever was asked before", () => {
  const whole =
    "query ($filter: KycFilter, $orderBy: KycOrder) { kycs(filter: $filter, orderBy: $orderBy) { nodes { id } } }";
  const document = parse(whole);
  const costIn = costOf(schema, document, getOperationAST(document) ?? expect.fail("no operation"));
  const spans = { updatedAt: { from: "2024-01-01T00:00:00Z" }, createdAt: { to: null } };
  expect(costIn({ filter: spans })).toBe(1 + 600 + 20);
  expect(costIn({ filter: { createdAt: {}, updatedAt: null } })).toBe(1 + 20);
  expect(costIn({ filter: { createdAt: {} }, orderBy: { field: "EXPIRES_AT" } })).toBe(1 + 300 + 20);
  expect(costIn({ filter: null })).toBe(1 + 20);
  const part = "query ($at: DateTimeRange) { kycs(filter: { updatedAt: $at }) { nodes { id } } }";
  expect(measure(part, { at: { from: "2024-01-01T00:00:00Z" } })).toBe(1 + 300 + 20);
});

test.each<[string, Record<string, unknown>, number]>([
  ["query ($n: Int) { kycs(last: $n) { nodes { id } } }", { n: 3 }, 1 + 3 * 2],
  ["query ($n: Int) { kycs(last: $n) { nodes { id } } }", { n: 0 }, 1 + 2],
  ["query ($n: Int) { kycs(last: $n) { nodes { id } } }", { n: 2147483647 }, 1 + 100 * 2],
  ["query ($n: Int) { kycs(last: $n) { nodes { id } } }", { n: null }, 1 + 10 * 2],
  ["query ($n: Int) { kycs(last: $n) { nodes { id } } }", { other: 1 }, 1 + 10 * 2],
  ["query ($n: Int = 4) { kycs(last: $n) { nodes { id } } }", {}, 1 + 4 * 2],
  ["query ($n: Int = 4) { kycs(last: $n) { nodes { id } } }", { n: null }, 1 + 10 * 2],
  ["query ($n: Int = null) { kycs(last: $n) { nodes { id } } }", {}, 1 + 10 * 2],
  ["query ($n: Int) { kycs(first: $n, last: 3) { nodes { id } } }", { n: 2 }, 1 + 3 * 2],
  [
    "query ($n: Int) { kycs(first: $n) { ...c } } fragment c on KycConnection { nodes { history(first: $n) { nodes { at } } } }",
    { n: 3 },
    1 + 3 * (1 + 1 + 3 * 2),
  ],
  ["query ($constructor: Int) { kycs(first: $constructor) { nodes { id } } }", {}, 1 + 10 * 2],
  ["query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", { ids: ["a", "b", "c"] }, 1 + 3],
  ["query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", { ids: "a" }, 1 + 1],
  ["query ($ids: [ID!]! = [1, 2]) { nodes(ids: $ids) { id } }", {}, 1 + 2],
])("%s with %j costs %i", (query, variables, cost) => {
  expect(measure(query, variables)).toBe(cost);
});

const sizes = fc.oneof(fc.constantFrom("", "null", "$n"), fc.integer().map(String));

test("whatever the sizes are, each field costs one at least and nothing makes up for another", () => {
  const page = (name: string, [first, last]: [string, string], inside: string) =>
    `${name}${first || last ? `(${first && `first: ${first}`} ${last && `last: ${last}`})` : ""} { nodes { ${inside} } }`;
  fc.assert(
    fc.property(fc.tuple(sizes, sizes), fc.tuple(sizes, sizes), fc.integer(), (outer, inner, n) => {
      const costIn = (fields: string) => measure(`query ($n: Int) { ${fields} }`, { n });
      const asked = page("kycs", outer, `id ${page("history", inner, "at")}`);
      const cost = costIn(asked);
      expect(cost).toBeGreaterThanOrEqual(6);
      expect(cost).toBeLessThanOrEqual(
        costIn(page("kycs", ["100", ""], `id ${page("history", ["100", ""], "at")}`)),
      );
      expect(costIn(`${asked} again: ${asked} kyc(id: 1) @skip(if: true) { id }`)).toBe(2 * cost + 2);
    }),
  );
});

test("fragments that double each other cost a number that JSON can say", () => {
  const fragments = Array.from(
    { length: 100 },
    (_, n) => `fragment f${n} on Query { ...f${n + 1} ...f${n + 1} }`,
  );
  const cost = measure(`{ ...f0 } ${fragments.join(" ")} fragment f100 on Query { __typename }`);
  expect(cost).toBe(Number.MAX_SAFE_INTEGER);
});

test("each answer of an operation tells its cost and the limit, refused ones too", async () => {
  const cost = (requested: number) => ({ cost: { requested, limit: 10_000 } });
  for (let time = 0; time < 3; time++) {
    expect((await gateway.graphql(token, "{ kycs(first: 2) { nodes { id } } }")).extensions).toEqual(cost(5));
  }
  expect((await gateway.graphql(null, "{ kycs { totalCount } }")).extensions).toEqual(cost(51));
  const refused = await gateway.graphql(
    token,
    `{ ${["a", "b", "c", "d"].map((name) => `${name}: nodes(ids: [${'"x",'.repeat(900)}]) { id __typename ... on Kyc { version } }`)} }`,
  );
  expect(refused.errors?.[0]?.extensions).toMatchObject({ code: "QUERY_TOO_COMPLEX", ...refused.extensions });
  expect(refused.extensions).toEqual(cost(4 * (1 + 900 * 3)));
  expect((await gateway.graphql(token, "{ kycs( }")).extensions).toBeUndefined();
});

const NESTED =
  "query ($n: Int, $m: Int) { kycs(first: $n) { edges { node { id history(first: $m) { edges { node { at action } } } } } } }";

test.each(["application/json", "application/json;q=1"])(
  "sizes that are variables count as they are given, to a client that accepts %s",
  async (accept) => {
    const ask = (n: unknown, m: unknown) => gateway.graphql(token, NESTED, { n, m }, { accept });
    const small = await ask(2, 2);
    expect(small.errors).toBeUndefined();
    expect(small.extensions.cost.requested).toBe(1 + 2 * (1 + 1 + 1 + 1 + 2 * (1 + 1 + 2)));
    const large = await ask(100, 100);
    const requested = 1 + 100 * (1 + 1 + 1 + 1 + 100 * (1 + 1 + 2));
    expect(large.status).toBe(200);
    expect(large.data).toBeUndefined();
    expect(large.errors).toMatchObject([
      {
        message: `The operation costs ${requested}, and the limit is 10000.`,
        locations: [{ line: 1, column: 1 }],
        extensions: { code: "QUERY_TOO_COMPLEX", cost: { requested, limit: 10_000 } },
      },
    ]);
    expect(large.extensions).toEqual({ cost: { requested, limit: 10_000 } });
    const wrong = await ask("100", 100);
    expect(wrong.errors?.[0]?.extensions).toMatchObject({
      code: "BAD_USER_INPUT",
      fields: [{ path: "first" }],
    });
  },
);

describe("a document is refused, with the number and the limit,", () => {
  test.each([
    [
      "whose sizes that are no variables cost too much already",
      "query ($n: Int) { kycs(first: $n) { totalCount } kycs(first: 100) { nodes { history(first: 100) { totalCount nodes { at } } } } }",
      "limit is 10000",
    ],
    ["with too many aliases", `{ ${[1, 2, 3, 4, 5, 6].map((n) => `a${n}: __typename`)} }`, "6 aliases"],
    [
      "that asks for a field again and again",
      `{ ${'kyc(id: "x") { id } ... { kyc(id: "x") { id } }'.repeat(4)} }`,
      "7 aliases",
    ],
    ["with too many directives", `{  ${"__typename @include(if: true)".repeat(6)} }`, "6 directives"],
    [
      "with repeated directives of one field",
      `{ __typename ${"@include(if: true) ".repeat(6)} }`,
      "6 directives",
    ],
    [
      "that is too deep",
      `{ __type(name: "Kyc") ${"{ ofType ".repeat(20)} { name } ${"}".repeat(20)} }`,
      "22 fields deep",
    ],
    [
      "that is too deep by its fragments",
      `{ __type(name: "Kyc") { ...a } } fragment a on __Type { ${"ofType { ".repeat(10)} ...b ${"}".repeat(10)} }
       fragment b on __Type { ${"ofType { ".repeat(10)} name ${"}".repeat(10)} }`,
      "22 fields deep",
    ],
  ])("%s", async (_what, query, words) => {
    const { status, errors } = await gateway.graphql(null, query);
    expect(status).toBe(200);
    const refusal = errors?.find(({ extensions }) => extensions.code === "QUERY_TOO_COMPLEX");
    expect(refusal?.message).toContain(words);
    expect(refusal?.message).toMatch(/limit is \d+/);
  });
});

describe("what is refused tells the limit that it is over, and the cost if it is known,", () => {
  const deep = `{ __type(name: "Kyc") ${"{ ofType ".repeat(20)} { name } ${"}".repeat(20)} }`;
  const costs = (requested: number) => ({ requested, limit: 10_000 });
  const directives = "__typename @include(if: true)".repeat(6);
  test.each<[string, string, string, object]>([
    ["depth", deep, "22 fields deep", { depth: { requested: 22, limit: 20 }, cost: costs(421) }],
    [
      "aliases",
      `{ ${"__typename ".repeat(7)} }`,
      "6 aliases",
      { aliases: { requested: 6, limit: 5 }, cost: costs(7) },
    ],
    [
      "directives",
      `{ ${directives} }`,
      "6 directives",
      { directives: { requested: 6, limit: 5 }, cost: costs(6) },
    ],
    ["tokens", `{ ${"a ".repeat(9999)} }`, "more than 10000 tokens", { tokens: { limit: 10_000 } }],
    ["nesting", `${"{ a ".repeat(201)}`, "nested more than 200 deep", { nesting: { limit: 200 } }],
  ])("of its %s", async (_what, document, words, figures) => {
    for (const [accept, status] of [
      ["application/json", 200],
      ["application/graphql-response+json", 400],
    ] as const) {
      const answers = [];
      for (const way of [accept, `${accept};q=1`, accept])
        answers.push(await gateway.graphql(token, document, {}, { accept: way }));
      for (const { status: got, data, errors } of answers) {
        expect(got).toBe(status);
        expect(data).toBeUndefined();
        const [refusal] = errors ?? [];
        expect(refusal?.message).toContain(words);
        expect(refusal?.extensions).toEqual({
          code: "QUERY_TOO_COMPLEX",
          ...figures,
          requestId: expect.any(String),
        });
      }
    }
  });

  test("which a document at the limit is not", async () => {
    const long = await gateway.graphql(null, `{ ${"a ".repeat(9998)} }`);
    expect(long.errors?.[0]?.extensions).toMatchObject({ aliases: { requested: 9997, limit: 5 } });
    const nested = await gateway.graphql(token, `{ ${"... {".repeat(199)} __typename ${"}".repeat(200)}`);
    expect(nested.errors).toBeUndefined();
  });
});

test("tools read the whole schema within the limits", async () => {
  const { data, errors } = await gateway.graphql(
    null,
    getIntrospectionQuery({ inputValueDeprecation: true, oneOf: true, specifiedByUrl: true }),
  );
  expect(errors).toBeUndefined();
  expect(() => buildSchema("type Query { a: Int }")).not.toThrow();
  expect(data.__schema.types.length).toBeGreaterThan(10);
});

test.each([
  ["one field ten thousand times", `{ ${"__typename ".repeat(9900)} }`],
  ["one field with arguments many times", `{ ${'kyc(id: "x") { id } '.repeat(1000)} }`],
  [
    "fragments that spread one another",
    `{ ${"...a ".repeat(4000)} } fragment a on Query { ${"...b ".repeat(4000)} } fragment b on Query { __typename }`,
  ],
  ["a body of brackets", "{".repeat(100_000)],
  ["a body of names", "a ".repeat(50_000)],
  [
    "introspection of introspection",
    `{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }`,
  ],
])("a document of %s is answered soon", async (_what, query) => {
  const asked = cpuTime();
  const { status } = await gateway.graphql(null, query);
  expect(status).toBeLessThan(500);
  expect(cpuTime() - asked).toBeLessThan(2000);
});
