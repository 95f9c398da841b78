import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord, goodInput } from "../support/records.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

// Two spellings of one media type.
const WAYS = { short: "application/json", weighted: "application/json;q=1" };
type Way = keyof typeof WAYS;

async function post(way: Way, key: string, payload: object) {
  const response = await gateway.app.inject({
    method: "POST",
    url: "/graphql",
    headers: {
      accept: WAYS[way],
      "content-type": "application/json",
      authorization: `Bearer ${token}`,
      "idempotency-key": key,
    },
    payload: JSON.stringify(payload),
  });
  const { date: _date, "request-id": requestId, ...headers } = response.headers;
  return {
    status: response.statusCode,
    headers,
    body: response.body.replaceAll(String(requestId), "REQUEST"),
  };
}

const CREATE =
  "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id version createdAt } } }";

describe.each(Object.keys(WAYS) as Way[])("a mutation with a key, first with the %s header", (way) => {
  test("is answered the same bytes again with both headers, and the header alone tells them apart", async () => {
    const key = randomUUID();
    const payload = { query: CREATE, variables: { input: goodInput } };
    const { headers, ...first } = await post(way, key, payload);
    expect(first.status).toBe(200);
    expect(JSON.parse(first.body).data.createKyc.kyc.version).toBe(1);
    for (const other of ["short", "weighted", "short", "weighted"] as const) {
      const again = await post(other, key, payload);
      expect(again).toEqual({ ...first, headers: { ...headers, "idempotent-replayed": "true" } });
    }
  });

  test("is refused with the same bytes again with both headers, and the header alone tells them apart", async () => {
    const id = await createRecord(gateway, token);
    const query = "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { id } } }";
    const inputs = { VERSION_CONFLICT: { id, expectedVersion: 7 }, NOT_FOUND: { id: "0000000000000000" } };
    for (const [code, input] of Object.entries(inputs)) {
      const key = randomUUID();
      const { headers, ...first } = await post(way, key, { query, variables: { input } });
      expect(JSON.parse(first.body)).toMatchObject({
        data: { updateKyc: null },
        errors: [{ extensions: { code } }],
      });
      for (const other of ["short", "weighted", "short", "weighted"] as const) {
        const again = await post(other, key, { query, variables: { input } });
        expect(again).toEqual({ ...first, headers: { ...headers, "idempotent-replayed": "true" } });
      }
    }
  });

  test("gets the error of a key that was used otherwise at the field's path", async () => {
    const key = randomUUID();
    await post(way, key, { query: CREATE, variables: { input: goodInput } });
    const other = { query: CREATE, variables: { input: { ...goodInput, customerId: "other" } } };
    const answers = [await post("short", key, other), await post("weighted", key, other)];
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[0]?.status).toBe(200);
    expect(JSON.parse(answers[0]?.body ?? "")).toMatchObject({
      data: { createKyc: null },
      errors: [{ path: ["createKyc"], extensions: { code: "IDEMPOTENCY_MISMATCH" } }],
    });
  });
});

test("an answer shows what its own document asks for, not what the first one did", async () => {
  const key = randomUUID();
  const first = await post("short", key, { query: CREATE, variables: { input: goodInput } });
  const { id } = JSON.parse(first.body).data.createKyc.kyc;
  const query =
    "mutation ($input: CreateKycInput!) { made: createKyc(input: $input) { kyc { id documentNumber } } }";
  const again = await post("weighted", key, { query, variables: { input: goodInput } });
  expect(JSON.parse(again.body)).toMatchObject({
    data: { made: { kyc: { id, documentNumber: goodInput.documentNumber } } },
  });
});

const REFUSED: [string, string][] = [
  [
    "two fields",
    "mutation ($input: CreateKycInput!) { a: createKyc(input: $input) { kyc { id } } b: createKyc(input: $input) { kyc { id } } }",
  ],
  [
    "two fields, one in a fragment",
    'mutation ($input: CreateKycInput!) { ...one createKyc(input: $input) { kyc { id } } } fragment one on Mutation { deleteKyc(input: { id: "0000000000000000" }) { deletedId } }',
  ],
  ["no field but __typename", "mutation { __typename }"],
];

test.each(REFUSED)("%s can't have a key: nothing is done, alike with both headers", async (_name, query) => {
  const account = `acme-${randomUUID()}`;
  const own = await gateway.token(account);
  const variables = query.includes("$input") ? { input: goodInput } : {};
  const answer = await gateway.graphql(own, query, variables, { "idempotency-key": "key" });
  expect(answer.errors).toMatchObject([
    {
      extensions: {
        code: "BAD_USER_INPUT",
        fields: [{ path: "Idempotency-Key", message: "needs an operation with exactly one mutation field" }],
      },
    },
  ]);
  expect(answer.data).toBeUndefined();
  const ways = [
    await post("short", "key", { query, variables }),
    await post("weighted", "key", { query, variables }),
  ];
  expect(ways[1]).toEqual(ways[0]);
  const { data } = await gateway.graphql(own, "{ kycs { totalCount } }");
  expect(data.kycs.totalCount).toBe(0);
});

test.each([
  [
    "under an alias, beside __typename",
    "mutation ($input: CreateKycInput!) { __typename a: createKyc(input: $input) { kyc { id } } }",
  ],
  [
    "twice, as one field",
    "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id } } createKyc(input: $input) { kyc { version } } }",
  ],
  [
    "in a fragment",
    "mutation ($input: CreateKycInput!) { ...f ...f } fragment f on Mutation { ... on Mutation { createKyc(input: $input) { kyc { id } } } }",
  ],
])("one field %s can have a key", async (_name, query) => {
  const payload = { query, variables: { input: goodInput } };
  const key = randomUUID();
  const first = await post("short", key, payload);
  expect(JSON.parse(first.body).errors).toBeUndefined();
  const again = await post("weighted", key, payload);
  expect(again.body).toBe(first.body);
  expect(again.headers["idempotent-replayed"]).toBe("true");
});

test("faults of variables and a key's misuse are told together", async () => {
  const query =
    "mutation ($id: ID!) { a: deleteKyc(input: { id: $id }) { deletedId } b: deleteKyc(input: { id: $id }) { deletedId } }";
  const { errors } = await gateway.graphql(token, query, {}, { "idempotency-key": "key" });
  expect(errors?.[0]?.extensions.fields?.map(({ path }) => path)).toEqual(["input.id", "Idempotency-Key"]);
});

test("a bad key is reported with the faults of the input, by its own name", async () => {
  const { errors } = await gateway.graphql(
    token,
    CREATE,
    { input: { ...goodInput, customerId: "" } },
    { "idempotency-key": "k".repeat(256) },
  );
  expect(errors?.[0]?.extensions).toMatchObject({
    code: "BAD_USER_INPUT",
    fields: [
      { path: "Idempotency-Key", message: "must have 1 to 255 printable characters" },
      { path: "input.customerId", message: "must have 1 to 128 printable characters" },
    ],
  });
});

test("queries ignore the key, however many fields they have", async () => {
  const id = await createRecord(gateway, token);
  for (const key of ["", "key"]) {
    const answer = await gateway.graphql(
      token,
      "query ($id: ID!) { a: kyc(id: $id) { id } b: kyc(id: $id) { id } }",
      { id },
      { "idempotency-key": key },
    );
    expect(answer).toMatchObject({ errors: undefined, data: { a: { id }, b: { id } } });
  }
});
