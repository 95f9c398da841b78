import fc from "fast-check";
import { graphql } from "graphql";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openCustomerDigests } from "../../src/audit/customer-digest.ts";
import { SCOPES } from "../../src/auth/scopes.ts";
import type { OperationContext } from "../../src/context.ts";
import { schema } from "../../src/graphql/schema.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord, goodInput } from "../support/records.ts";

let gateway: TestApp;
let tokens: Record<string, string | null>;
let id: string;

beforeAll(async () => {
  gateway = await createTestApp();
  tokens = {
    full: await gateway.token("acme"),
    writer: await gateway.token("acme", ["kyc:write"]),
    nobody: null,
  };
  for (let index = 0; index < 4; index++) id = await createRecord(gateway, String(tokens.full));
});
afterAll(() => gateway.close());

const JSON_TYPE = "application/json";
const RESPONSE_TYPE = "application/graphql-response+json";

/** Spellings of one request that differ in headers alone: the answer has the same type for all of a group. */
const SPELLINGS: Record<string, Record<string, string>[]> = {
  [JSON_TYPE]: [
    { accept: "*/*" },
    { accept: "*/*;q=1" },
    {},
    { accept: "application/json, text/plain, */*", "content-type": "application/json;charset=UTF-8" },
    { accept: "application/json; charset=utf-8", "content-type": "Application/JSON" },
    { accept: `${RESPONSE_TYPE};q=0.5, application/json`, origin: "https://app.example" },
    { accept: `${RESPONSE_TYPE};q=0, */*`, "content-type": "application/json; charset=utf-8" },
  ],
  [RESPONSE_TYPE]: [
    { accept: RESPONSE_TYPE },
    {
      accept: `${RESPONSE_TYPE}, application/graphql+json, application/json, text/event-stream, multipart/mixed`,
    },
    { accept: `${RESPONSE_TYPE}; charset=utf-8, application/json; charset=utf-8` },
    { accept: `${RESPONSE_TYPE},application/json;q=0.9`, origin: "https://app.example" },
    { accept: `application/json;q=0.9,${RESPONSE_TYPE}`, "content-type": "application/json;charset=UTF-8" },
    { accept: "APPLICATION/graphql-response+JSON" },
  ],
};

async function post(
  spelling: Record<string, string>,
  token: string | null | undefined,
  payload: string | Buffer,
) {
  const response = await gateway.app.inject({
    method: "POST",
    url: "/graphql",
    headers: {
      "content-type": "application/json",
      ...spelling,
      ...(token && { authorization: `Bearer ${token}` }),
    },
    payload,
  });
  const { date: _date, "request-id": requestId, vary: _vary, ...headers } = response.headers;
  return {
    status: response.statusCode,
    headers,
    body: response.body.replaceAll(String(requestId), "REQUEST"),
  };
}

const FIELDS = "id customerId verificationStatus documentType documentNumber createdAt updatedAt version";
const BY_ID = `query Record($id: ID!) { kyc(id: $id) { ...all __typename } } fragment all on Kyc { ${FIELDS} }`;
const PAGE = `query ($first: Int = 2, $after: String, $filter: KycFilter, $more: Boolean = true) {
  kycs(first: $first, after: $after, filter: $filter) {
    edges { cursor node { ${FIELDS} } } nodes @include(if: $more) { id }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } total: totalCount
  }
}`;

const HISTORIES = `query ($first: Int, $last: Int = 3) {
  kycs(first: $first) { nodes { history(last: $last) { nodes { at action } } } }
}`;

const requests: [
  string,
  { query?: unknown; variables?: unknown; operationName?: unknown; extensions?: unknown },
][] = [
  ["a record", { query: BY_ID, variables: { id: "ID" } }],
  ["a record that is not there", { query: BY_ID, variables: { id: "0000000000000000" } }],
  ["a record by its operation's name", { query: BY_ID, variables: { id: "ID" }, operationName: "Record" }],
  ["a wrong operation's name", { query: BY_ID, variables: { id: "ID" }, operationName: "Other" }],
  ["two operations", { query: "query A { __typename } query B { kycs { totalCount } }", operationName: "B" }],
  ["two operations and no name", { query: "query A { __typename } query B { __typename }" }],
  ["a page", { query: PAGE }],
  [
    "a page with everything given",
    {
      query: PAGE,
      variables: {
        first: 3,
        after: null,
        filter: { verificationStatus: "PENDING", createdAt: { from: "2020-01-01T00:00:00Z" } },
        more: false,
      },
    },
  ],
  ["an empty page", { query: PAGE, variables: { first: 0, filter: { customerId: "nobody" } } }],
  ["pages inside a page", { query: HISTORIES, variables: { first: 2, last: 1 } }],
  ["pages inside a page, of sizes by default", { query: HISTORIES }],
  ["pages inside a page that cost too much", { query: HISTORIES, variables: { first: 100, last: 100 } }],
  ["pages inside a page, of a wrong size", { query: HISTORIES, variables: { first: 2, last: 1.5 } }],
  [
    "a single id for a list of ids",
    {
      query: "query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on Kyc { version } } }",
      variables: { ids: "ID" },
    },
  ],
  ["a number for an id", { query: BY_ID, variables: { id: 5 } }],
  ["a node", { query: "query ($id: ID!) { node(id: $id) { __typename id } }", variables: { id: "ID" } }],
  [
    "several fields, one at fault",
    { query: "{ good: kycs { totalCount } bad: kycs(first: 101) { totalCount } }" },
  ],
  [
    "several faults of one record",
    {
      query: `{ a: kyc(id: "x") { id } b: nodes(ids: []) { id } c: kycs(after: "x", first: -1) { nodes { id } } }`,
    },
  ],
  ["an introspection", { query: "{ __schema { queryType { name } types { name } } }" }],
  ["__typename alone", { query: "{ __typename }" }],
  ["a variable that lacks", { query: BY_ID }],
  [
    "a variable of the wrong type",
    { query: PAGE, variables: { first: "two", filter: { documentType: "PASPORT", colour: 1 } } },
  ],
  ["a variable that nobody asked for", { query: BY_ID, variables: { id: "ID", other: 1 } }],
  [
    "a null in a default's place",
    { query: `query ($id: ID = "x") { kyc(id: $id) { id } }`, variables: { id: null } },
  ],
  ["a syntax error", { query: "{ kycs( }" }],
  ["too many tokens", { query: "{ a ".repeat(5001) }],
  ["too deep a nesting", { query: "{ a ".repeat(201) }],
  ["an unknown field", { query: "{ kycs { colour } }" }],
  ["an empty query", { query: "" }],
  ["no query", { variables: {} }],
  ["a query that is a number", { query: 5 }],
  ["variables that are a list", { query: BY_ID, variables: [] }],
  [
    "variables that are null",
    { query: "{ __typename }", variables: null, operationName: null, extensions: null },
  ],
  ["extensions", { query: "{ __typename }", extensions: { a: 1 } }],
  ["an unknown parameter", { query: "{ __typename }", id: 1 } as object],
  [
    "a mutation that is refused",
    {
      query: "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { id } } }",
      variables: { input: { id: "0000000000000000" } },
    },
  ],
  [
    "a mutation without a change",
    {
      query: `mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { ${FIELDS} } } }`,
      variables: { input: { id: "ID" } },
    },
  ],
  [
    "a mutation of bad input",
    {
      query: "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }",
      variables: { input: { ...goodInput, documentNumber: " " } },
    },
  ],
  [
    "a mutation that is forbidden or finds nothing",
    {
      query: "mutation ($input: DeleteKycInput!) { deleteKyc(input: $input) { deletedId } }",
      variables: { input: { id: "0000000000000000" } },
    },
  ],
  [
    "several mutations of which the first fails",
    {
      query: `mutation ($id: ID!) {
        first: deleteKyc(input: { id: "0000000000000000" }) { deletedId }
        second: updateKyc(input: { id: $id }) { kyc { id } }
      }`,
      variables: { id: "ID" },
    },
  ],
  [
    "a default of a scalar of ours",
    {
      query: `query ($from: DateTime = "2020-01-01T00:00:00Z") { kycs(filter: { createdAt: { from: $from } }) { totalCount } }`,
    },
  ],
  [
    "a fragment that is there twice, once under a condition",
    {
      query:
        "query ($a: Boolean!) { ...part @include(if: $a) ...part } fragment part on Query { kycs { totalCount } }",
      variables: { a: false },
    },
  ],
  ...["", " }"].map((end): [string, object] => [
    `a null condition of a field${end && " of a field"}`,
    {
      query: `query ($a: Boolean = true) { ${end && "kycs {"} ${end ? "totalCount" : "__typename"} @skip(if: $a)${end} }`,
      variables: { a: null },
    },
  ]),
  [
    "a variable that is called like a property of every object",
    {
      query:
        "query ($constructor: Int, $toString: Int) { kycs(first: $constructor, last: $toString) { totalCount } }",
    },
  ],
  [
    "a variable that is called __proto__",
    {
      query: "query ($__proto__: ID!) { kyc(id: $__proto__) { id } }",
      variables: JSON.parse('{"__proto__":"ID"}'),
    },
  ],
  [
    "an alias that is called __proto__",
    { query: "{ __proto__: kycs { totalCount } kycs { __proto__: totalCount } }" },
  ],
  ["a subscription", { query: "subscription { kycs { totalCount } }" }],
];

for (const [mediaType, spellings] of Object.entries(SPELLINGS)) {
  test.each(requests)(
    `${mediaType}: %s gets the same bytes in every spelling, however often it is sent`,
    async (_name, request) => {
      // A comment makes it a document that was not sent before.
      const mark = `# ${mediaType}\n`;
      const query = typeof request.query === "string" && request.query ? mark + request.query : request.query;
      const payload = JSON.stringify({ ...request, query }).replaceAll('"ID"', `"${id}"`);
      const compare = async (token: string | null) => {
        const first = await post({ accept: mediaType }, token, payload);
        expect(first.headers["content-type"]).toBe(`${mediaType}; charset=utf-8`);
        for (const spelling of [...spellings, { accept: mediaType }])
          expect(await post(spelling, token, payload), JSON.stringify(spelling)).toEqual(first);
      };
      await Promise.all(Object.values(tokens).map(compare));
    },
  );
}

const RECORD_FIELDS = [...FIELDS.split(" "), "__typename"];

/** Selections of a record with aliases, repetitions, conditions and fragments. */
const recordSelection = fc
  .array(
    fc.record({
      field: fc.constantFrom(...RECORD_FIELDS),
      alias: fc.option(fc.constantFrom("a", "b", "version", "id")),
      condition: fc.constantFrom("", "", "@include(if: $yes)", "@skip(if: $yes)", "@include(if: $no)"),
      fragment: fc.constantFrom("", "", "... on Kyc"),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((parts) =>
    parts
      .map(({ field, alias, condition, fragment }) => {
        const selected = `${alias === null ? "" : `${alias}${field}: `}${field}`;
        return fragment ? `${fragment} ${condition} { ${selected} }` : `${selected} ${condition}`;
      })
      .join(" "),
  );

const root = fc.oneof(
  recordSelection.map((selection) => `kyc(id: $id) { ${selection} }`),
  recordSelection.map(
    (selection) => `nodes(ids: [$id, "0000000000000000"]) { id ... on Kyc { ${selection} } }`,
  ),
  fc
    .tuple(fc.constantFrom("", "(first: $first)", "(last: 101)", "(filter: $filter)"), recordSelection)
    .map(
      ([given, selection]) =>
        `kycs${given} { edges { cursor node { ${selection} } } pageInfo { hasNextPage } totalCount }`,
    ),
);

const documents = fc
  .tuple(
    fc.array(root, { minLength: 1, maxLength: 3 }),
    fc.constantFrom("$first: Int", "$first: Int = 1"),
    fc.constantFrom(
      "$filter: KycFilter",
      `$filter: KycFilter = { createdAt: { from: "2020-01-01T00:00:00Z" } }`,
    ),
  )
  .map(([fields, first, filter]) => {
    const used = fields.map((field, index) => `f${index}: ${field}`).join(" ");
    const declared = ["$id: ID!", first, filter, "$yes: Boolean = true", "$no: Boolean = false"].filter(
      (variable) => used.includes(variable.split(":")[0] as string),
    );
    return `query ${declared.length > 0 ? `(${declared.join(", ")})` : ""} { ${used} }`;
  });

/** Documents with variables inside objects and lists, under defaults and conditions. */
const literals = fc
  .record({
    definition: fc.constantFrom("$v: VerificationStatus", "$v: VerificationStatus = PENDING"),
    filter: fc.constantFrom(
      "{ verificationStatus: $v }",
      "{ verificationStatus: $v, documentType: null }",
      '{ createdAt: { from: null, to: "2999-01-01T00:00Z" }, verificationStatus: $v }',
    ),
    ids: fc.constantFrom("[$id]", "$id", '[$id, "0000000000000000", $id]'),
    condition: fc.constantFrom("", "@include(if: $yes)", "@skip(if: $yes)"),
  })
  .map(
    ({ definition, filter, ids, condition }) => `query ($id: ID!, ${definition}, $yes: Boolean! = true) {
      __typename @include(if: $yes)
      kycs(filter: ${filter}) { nodes { ...record } } again: kycs(filter: ${filter}, first: 1) { totalCount }
      nodes(ids: ${ids}) { ...record }
    } fragment record on Kyc { id verificationStatus ${condition} status: verificationStatus }`,
  );

const values = fc.record(
  {
    v: fc.constantFrom("PENDING", "VERIFIED", null),
    first: fc.constantFrom(null, 0, 1, 2, 101, "x"),
    filter: fc.constantFrom(
      null,
      {},
      { documentType: "PASSPORT" },
      { documentType: null },
      { customerId: "" },
    ),
    yes: fc.constantFrom(true, false, null),
    no: fc.constantFrom(true, false),
  },
  { requiredKeys: [] },
);

/** graphql-js's own answer, with only our schema. */
async function reference(query: string, variableValues: Record<string, unknown>) {
  const viewer = { accountId: "acme", tokenId: "t", tokenName: "t", expiresAt: null, scopes: SCOPES };
  const contextValue: OperationContext = {
    ...{ db: gateway.db, keys: gateway.keys, viewer, confirmViewer: async () => {}, surface: "graphql" },
    ...{ watchViewer: () => () => {}, logs: null, idempotency: null, requestId: "r", reads: null },
    ...{ unreadable: [], fieldErrors: [], now: Date.now, enforcedRetention: null },
    digestCustomer: await openCustomerDigests(gateway.db, gateway.keys),
    log: { error: () => {}, warn: () => {} } as never,
  };
  const { data, errors } = await graphql({ schema, source: query, variableValues, contextValue });
  return { data: data && JSON.parse(JSON.stringify(data)), failed: (errors?.length ?? 0) > 0 };
}

test("whatever the document and its variables, the answer is graphql-js's the first time and the twentieth", async () => {
  await fc.assert(
    fc.asyncProperty(fc.oneof(documents, literals), values, async (query, given) => {
      const variables = { id, ...given };
      const payload = JSON.stringify({ query, variables });
      const first = await post({}, tokens.full, payload);
      const { data, errors } = JSON.parse(first.body);
      // Of several fields that fail, graphql-js has those that failed before the answer was empty: a race.
      fc.pre(!(query.includes(" f1: ") && errors));
      const expected = await reference(query, variables);
      expect({ data, failed: !!errors }).toEqual({ ...expected, data: expected.data ?? data });
      for (let sending = 1; sending < 20; sending++)
        expect(await post(sending % 2 ? { accept: "*/*;q=0.5" } : {}, tokens.full, payload)).toEqual(first);
    }),
    { numRuns: 25 },
  );
});

test("bodies that are no JSON objects are refused with 400, whatever is accepted", async () => {
  for (const payload of ["", "null", "5", "[]", "{", '{"query":', "\ufeff{}", '[{"query":"{__typename}"}]']) {
    for (const accept of [JSON_TYPE, RESPONSE_TYPE]) {
      const answer = await post({ accept }, null, payload);
      expect([payload, answer.status]).toEqual([payload, 400]);
      expect(JSON.parse(answer.body).errors).toMatchObject([{ extensions: { code: "BAD_USER_INPUT" } }]);
    }
  }
});

test("a body that begins with a byte order mark is read", async () => {
  const answer = await post({}, null, `\ufeff${JSON.stringify({ query: "{ __typename }" })}`);
  expect(JSON.parse(answer.body).data).toEqual({ __typename: "Query" });
});

test("a body that is not UTF-8 is refused, and nothing of it is stored", async () => {
  const CREATE = "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }";
  const json = JSON.stringify({ query: CREATE, variables: { input: { ...goodInput, customerId: "\xff" } } });
  for (const encoding of ["latin1", "utf16le"] as const) {
    const answer = await post({}, tokens.full, Buffer.from(json, encoding));
    expect(answer.status).toBe(400);
    if (encoding === "latin1")
      expect(JSON.parse(answer.body).errors).toMatchObject([
        { message: "The body is not UTF-8.", extensions: { code: "BAD_USER_INPUT" } },
      ]);
  }
  expect((await post({}, tokens.full, Buffer.from(json, "utf8"))).status).toBe(200);
  const stored = await gateway.db.execute("select 1 from kycs where customer_id like $1", ["%\ufffd%"]);
  expect(stored).toEqual([]);
});

test("by GET a query gets the answer that it gets by POST", async () => {
  const variables = { id };
  const posted = await post({}, tokens.full, JSON.stringify({ query: BY_ID, variables }));
  const search = new URLSearchParams({ query: BY_ID, variables: JSON.stringify(variables) });
  const got = await gateway.app.inject({
    url: `/graphql?${search}`,
    headers: { authorization: `Bearer ${tokens.full}` },
  });
  expect(got.body).toBe(posted.body);
});
