import { getIntrospectionQuery } from "graphql";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord, goodInput } from "../support/records.ts";

const CANARY = "CANARY47110815";
const CREATE = "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } }";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

test("variables of the wrong type are BAD_USER_INPUT with every field at fault", async () => {
  const input = { customerId: 5, documentType: "PASPORT", documentNumber: null, colour: "blue" };
  const { errors } = await gateway.graphql(token, CREATE, { input });
  expect(errors).toHaveLength(1);
  expect(errors?.[0]?.extensions).toMatchObject({
    code: "BAD_USER_INPUT",
    fields: [
      { path: "input.customerId", message: "must be of type String" },
      { path: "input.documentNumber", message: "must not be null" },
      {
        path: "input.documentType",
        message: expect.stringContaining("must be one of DRIVERS_LICENSE, ID_CARD"),
      },
      { path: "input.verificationStatus", message: "is required" },
      { path: "input.colour", message: "is not a field of CreateKycInput" },
    ],
  });
});

test("variables that are absent, misnamed or no object are reported", async () => {
  const paths = async (variables: Record<string, unknown>) =>
    (await gateway.graphql(token, CREATE, variables)).errors?.[0]?.extensions.fields;
  expect(await paths({})).toEqual([{ path: "input", message: "is required" }]);
  expect(await paths({ input: null })).toEqual([{ path: "input", message: "must not be null" }]);
  expect(await paths({ input: [goodInput] })).toEqual([{ path: "input", message: "must be an object" }]);
});

test("items of a list are named by their index", async () => {
  const { errors } = await gateway.graphql(token, "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {
    ids: ["a", null, {}],
  });
  expect(errors?.[0]?.extensions.fields?.map((fault) => fault.path)).toEqual(["ids.1", "ids.2"]);
});

test("a null variable in place of a default is BAD_USER_INPUT", async () => {
  const { errors } = await gateway.graphql(token, `query ($id: ID = "x") { kyc(id: $id) { id } }`, {
    id: null,
  });
  expect(errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT", fields: [{ path: "id" }] });
});

test("explicit nulls are errors in a mutation, each of them named", async () => {
  const id = await createRecord(gateway, token);
  const update = "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { version } } }";
  const input = { id, verificationStatus: null, documentNumber: null, expectedVersion: null };
  const { errors } = await gateway.graphql(token, update, { input });
  expect(errors?.[0]?.extensions.fields?.map((fault) => fault.path).sort()).toEqual([
    "input.documentNumber",
    "input.expectedVersion",
    "input.verificationStatus",
  ]);
});

test("explicit nulls mean absent in a filter and in paging", async () => {
  const { errors } = await gateway.graphql(
    token,
    `{ kycs(first: null, after: null, last: null, before: null, filter: {
        customerId: null, verificationStatus: null, documentType: null, createdAt: { from: null, to: null }
      }) { nodes { id } } kycsToo: kycs(filter: null) { nodes { id } } more: kycs(filter: { createdAt: null }) { nodes { id } } }`,
  );
  expect(errors).toBeUndefined();
});

test("more than a hundred ids at once are refused", async () => {
  const { errors } = await gateway.graphql(token, "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", {
    ids: Array.from({ length: 101 }, (_, index) => `000000000000${1000 + index}`),
  });
  expect(errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT", fields: [{ path: "ids" }] });
});

test.each([
  [
    "a syntax error",
    `mutation { createKyc(input: { documentNumber "${CANARY}" }) { kyc { id } } }`,
    "GRAPHQL_PARSE_FAILED",
  ],
  [
    "a name out of place",
    `mutation { createKyc(input: { documentNumber: ] ${CANARY} }) }`,
    "GRAPHQL_PARSE_FAILED",
  ],
  ["a number out of place", "mutation { createKyc(input 47110815) }", "GRAPHQL_PARSE_FAILED"],
  [
    "a number for a text",
    "mutation { createKyc(input: { documentNumber: 47110815 }) { kyc { id } } }",
    "GRAPHQL_VALIDATION_FAILED",
  ],
  [
    "an unquoted text",
    `mutation { createKyc(input: { documentNumber: ${CANARY} }) { kyc { id } } }`,
    "GRAPHQL_VALIDATION_FAILED",
  ],
  [
    "a text for an enum",
    `{ kycs(filter: { documentType: "${CANARY}" }) { nodes { id } } }`,
    "GRAPHQL_VALIDATION_FAILED",
  ],
  [
    "a word that is no enum value",
    `{ kycs(filter: { documentType: ${CANARY} }) { nodes { id } } }`,
    "GRAPHQL_VALIDATION_FAILED",
  ],
  [
    "a text for a time",
    `{ kycs(filter: { createdAt: { from: "${CANARY}" } }) { nodes { id } } }`,
    "GRAPHQL_VALIDATION_FAILED",
  ],
  [
    "a list for a text",
    `{ kycs(filter: { customerId: ["${CANARY}"] }) { nodes { id } } }`,
    "GRAPHQL_VALIDATION_FAILED",
  ],
  [
    "an object for a text",
    `{ kycs(filter: { customerId: { a: "${CANARY}" } }) { nodes { id } } }`,
    "GRAPHQL_VALIDATION_FAILED",
  ],
  ["a text for an object", `{ kycs(filter: "${CANARY}") { nodes { id } } }`, "GRAPHQL_VALIDATION_FAILED"],
  ["a fraction for a number", "{ kycs(first: 47110815.5) { nodes { id } } }", "GRAPHQL_VALIDATION_FAILED"],
])("%s in the document is told without its value", async (_name, document, code) => {
  const { errors } = await gateway.graphql(token, document);
  expect(errors?.map((error) => error.extensions.code)).toContain(code);
  expect(JSON.stringify(errors)).not.toMatch(/47110815/);
});

test("a missing or unknown field of a literal is named", async () => {
  const { errors } = await gateway.graphql(
    token,
    `mutation { createKyc(input: { colour: "x" }) { kyc { id } } }`,
  );
  const said = JSON.stringify(errors);
  for (const name of ["customerId", "verificationStatus", "documentType", "documentNumber", "colour"]) {
    expect(said).toContain(name);
  }
});

test.each([
  [
    "many pages under aliases",
    `{ ${Array.from({ length: 60 }, (_, i) => `a${i}: kycs(first: 100) { nodes { id } }`).join(" ")} }`,
  ],
  [
    "many pages of a size that is a variable",
    `query ($n: Int) { ${Array.from({ length: 60 }, (_, i) => `a${i}: kycs(last: $n) { nodes { id } }`).join(" ")} }`,
  ],
  [
    "one page through many fragments",
    `{ kycs(first: 100) { ...f0 } } ${Array.from({ length: 40 }, (_, i) => `fragment f${i} on KycConnection { ...f${i + 1} ...f${i + 1} }`).join(" ")} fragment f40 on KycConnection { totalCount }`,
  ],
])(
  "an operation of %s costs more than the limit, and is told both before anything is read",
  async (_name, document) => {
    const { errors, data } = await gateway.graphql(token, document, { n: 100 });
    expect(data).toBeUndefined();
    expect(errors?.[0]?.extensions).toMatchObject({
      code: "QUERY_TOO_COMPLEX",
      cost: { requested: expect.any(Number), limit: 10_000 },
    });
  },
);

test("introspection is within the limit once, and not many times over", async () => {
  const usual = getIntrospectionQuery({
    descriptions: true,
    specifiedByUrl: true,
    inputValueDeprecation: true,
    oneOf: true,
  });
  expect((await gateway.graphql(null, usual)).errors).toBeUndefined();
  const types = "types { name fields { name type { name } } }";
  for (const document of [
    `{ ${Array.from({ length: 300 }, (_, i) => `a${i}: __schema { ${types} }`).join(" ")} }`,
    `{ __schema { ${Array.from({ length: 300 }, (_, i) => `a${i}: ${types}`).join(" ")} } }`,
    `{ ${Array.from({ length: 300 }, (_, i) => `a${i}: __type(name: "Kyc") { ${types.slice(13, -1)} }`).join(" ")} }`,
  ]) {
    expect((await gateway.graphql(null, document)).errors?.[0]?.extensions.code).toBe("QUERY_TOO_COMPLEX");
  }
});

test("names that may be values are not repeated", async () => {
  const { errors } = await gateway.graphql(token, CREATE, { input: { ...goodInput, [CANARY]: 1 } });
  expect(errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
  expect(JSON.stringify(errors)).not.toContain(CANARY);
});

test("the largest page of everything is well within the limit", async () => {
  const record = "id customerId verificationStatus documentType documentNumber createdAt updatedAt version";
  const { errors } = await gateway.graphql(
    token,
    `query ($n: Int) { kycs(first: $n) { edges { cursor node { ${record} } } nodes { ${record} }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }`,
    { n: 100 },
  );
  expect(errors).toBeUndefined();
});

test("a document of endless nesting or length is refused, and does no harm", async () => {
  for (const [document, code] of [
    [`{ kyc(id: "x") { ${"...{".repeat(15_000)} id ${"}".repeat(15_000)} } }`, "QUERY_TOO_COMPLEX"],
    ["{ a ".repeat(12_000), "QUERY_TOO_COMPLEX"],
    [`{${"__typename ".repeat(9000)} kycs(`, "GRAPHQL_PARSE_FAILED"],
    [`{${"a ".repeat(10_000)} kycs(`, "QUERY_TOO_COMPLEX"],
  ] as const) {
    const { errors } = await gateway.graphql(token, document);
    expect(errors?.[0]?.extensions.code).toBe(code);
  }
  const { errors } = await gateway.graphql(
    token,
    `{ kyc(id: "x") { ${"...{".repeat(190)} id ${"}".repeat(190)} } }`,
  );
  expect(errors).toBeUndefined();
});

test("JSON that is broken is reported without its text", async () => {
  for (const payload of [`{"query": "${CANARY}`, `{"query": ${CANARY}}`, `[${CANARY}`, "", "null", "5"]) {
    const answer = await gateway.app.inject({
      method: "POST",
      url: "/graphql",
      headers: { "content-type": "application/json" },
      payload,
    });
    expect(answer.statusCode, payload).toBe(400);
    expect(answer.json().errors[0].extensions.code).toBe("BAD_USER_INPUT");
    expect(answer.body).not.toContain(CANARY);
  }
  const get = await gateway.app.inject({ url: `/graphql?query={__typename}&variables={"a":${CANARY}` });
  expect(get.statusCode).toBe(400);
  expect(get.body).not.toContain(CANARY);
});

test("what is unforeseen is masked, and its cause is in the log under the same request id", async () => {
  const broken = await createTestApp();
  const secret = await broken.token("acme");
  await broken.db.execute("alter table kycs rename column customer_id to renamed");
  const { status, errors } = await broken.graphql(secret, CREATE, {
    input: { ...goodInput, documentNumber: CANARY },
  });
  const log = broken.logged();
  await broken.close();
  expect(status).toBe(200);
  const { code, requestId } = errors?.[0]?.extensions ?? {};
  expect(code).toBe("INTERNAL");
  expect(errors?.[0]?.message).toBe("Something went wrong on our side.");
  const line = log
    .split("\n")
    .find((text) => text.includes(String(requestId)) && text.includes("unforeseen"));
  expect(line).toContain("42703");
  expect(log + JSON.stringify(errors)).not.toContain(CANARY);
});

test("a database that can't be reached answers 503 with Retry-After on both surfaces", async () => {
  const cut = await createTestApp();
  const secret = await cut.token("acme");
  await cut.db.close();
  const graphql = await cut.graphql(secret, "{ kycs { nodes { id } } }");
  const rest = await cut.rest(secret, "GET", "/v1/kyc");
  const ready = await cut.rest(null, "GET", "/ready");
  await cut.close();
  expect(graphql).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
  expect(graphql.errors?.[0]?.extensions.code).toBe("UNAVAILABLE");
  expect(rest).toMatchObject({ statusCode: 503, headers: { "retry-after": "1" } });
  expect(rest.json().error).toMatchObject({ type: "api_error", code: "unavailable" });
  expect(ready.statusCode).toBe(503);
});

test("errors of one cached document are not shared between requests", async () => {
  const ids = new Set<string | undefined>();
  for (const document of ["{ kycs(", "{ nonsense }", "{ kycs(first: 101) { totalCount } }"]) {
    for (let turn = 0; turn < 3; turn++) {
      const { errors, headers } = await gateway.graphql(token, document);
      expect(errors?.[0]?.extensions.requestId).toBe(headers["request-id"]);
      ids.add(errors?.[0]?.extensions.requestId);
    }
  }
  expect(ids.size).toBe(9);
});
