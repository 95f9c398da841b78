import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "./support/app.ts";
import { createRecord } from "./support/records.ts";

const THEIRS = { customerId: "their-customer", documentNumber: "THEIRS-9999" };

let gateway: TestApp;
let ours: string;
let theirs: string;
let ourId: string;
let theirId: string;

beforeAll(async () => {
  gateway = await createTestApp();
  ours = await gateway.token("acme");
  theirs = await gateway.token("globex");
  ourId = await createRecord(gateway, ours);
  theirId = await createRecord(gateway, theirs, THEIRS);
});
afterAll(() => gateway.close());

const theirRecord = async () =>
  (
    await gateway.graphql(theirs, "query ($id: ID!) { kyc(id: $id) { id version documentNumber } }", {
      id: theirId,
    })
  ).data.kyc;

test("kyc answers null for a foreign record", async () => {
  const { data, errors } = await gateway.graphql(ours, "query ($id: ID!) { kyc(id: $id) { id } }", {
    id: theirId,
  });
  expect({ data, errors }).toEqual({ data: { kyc: null }, errors: undefined });
});

test("node and nodes answer null for a foreign record, as for one that never was", async () => {
  const { data, errors } = await gateway.graphql(
    ours,
    "query ($a: ID!, $ids: [ID!]!) { node(id: $a) { id } nodes(ids: $ids) { id } }",
    { a: theirId, ids: [theirId, ourId, "0000000000000000", "?", ourId] },
  );
  expect(errors).toBeUndefined();
  expect(data).toEqual({ node: null, nodes: [null, { id: ourId }, null, null, { id: ourId }] });
});

test("lists and counts hold no foreign record, whatever the filter", async () => {
  const { data } = await gateway.graphql(
    ours,
    `query ($filter: KycFilter) {
      all: kycs { nodes { id } totalCount }
      filtered: kycs(filter: $filter) { nodes { id } totalCount pageInfo { hasNextPage hasPreviousPage } }
    }`,
    { filter: { customerId: THEIRS.customerId } },
  );
  expect(data).toEqual({
    all: { nodes: [{ id: ourId }], totalCount: 1 },
    filtered: { nodes: [], totalCount: 0, pageInfo: { hasNextPage: false, hasPreviousPage: false } },
  });
  const rest = await gateway.rest(ours, "GET", `/v1/kyc?customer_id=${THEIRS.customerId}`);
  expect(rest.json()).toEqual({ has_more: false, data: [] });
});

test("a foreign cursor tells nothing of foreign records", async () => {
  const page = await gateway.graphql(theirs, "{ kycs { edges { cursor } } }");
  const { data } = await gateway.graphql(
    ours,
    "query ($c: String) { kycs(after: $c) { nodes { id } totalCount pageInfo { hasNextPage hasPreviousPage } } }",
    { c: page.data.kycs.edges[0].cursor },
  );
  expect(data.kycs).toEqual({
    nodes: [{ id: ourId }],
    totalCount: 1,
    pageInfo: { hasNextPage: false, hasPreviousPage: false },
  });
});

test("a foreign id is no cursor, deleted or not, and the answer is the same as for an id that never was", async () => {
  const deleted = await createRecord(gateway, theirs);
  await gateway.rest(theirs, "DELETE", `/v1/kyc/${deleted}`);
  const answers = await Promise.all(
    [theirId, deleted, "0000000000000000"].map((id) =>
      gateway.rest(ours, "GET", `/v1/kyc?starting_after=${id}`),
    ),
  );
  for (const answer of answers) {
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toEqual(answers[2]?.json());
    expect(answer.json().error).toMatchObject({ code: "parameter_invalid", param: "starting_after" });
  }
});

test("updates and deletes of a foreign record find nothing and change nothing", async () => {
  const before = await theirRecord();
  const update = "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { id } } }";
  const remove = "mutation ($input: DeleteKycInput!) { deleteKyc(input: $input) { deletedId } }";
  const changes = { id: theirId, verificationStatus: "FAILED", expectedVersion: before.version };
  const overGraphql = [
    await gateway.graphql(ours, update, { input: changes }),
    await gateway.graphql(ours, remove, { input: { id: theirId } }),
  ];
  for (const { errors } of overGraphql) expect(errors?.[0]?.extensions.code).toBe("NOT_FOUND");
  for (const method of ["PUT", "PATCH", "POST"] as const) {
    const answer = await gateway.rest(ours, method, `/v1/kyc/${theirId}`, {
      form: { verification_status: "failed" },
    });
    expect(answer.statusCode).toBe(404);
  }
  expect((await gateway.rest(ours, "GET", `/v1/kyc/${theirId}`)).statusCode).toBe(404);
  expect((await gateway.rest(ours, "DELETE", `/v1/kyc/${theirId}`)).statusCode).toBe(404);
  expect(await theirRecord()).toEqual(before);
});

test("what is sent back with a foreign id is not compared with the foreign record", async () => {
  const right = await gateway.rest(ours, "PUT", `/v1/kyc/${theirId}`, {
    form: { customer_id: THEIRS.customerId },
  });
  const wrong = await gateway.rest(ours, "PUT", `/v1/kyc/${theirId}`, {
    form: { customer_id: "something else" },
  });
  expect([right.statusCode, wrong.statusCode]).toEqual([404, 404]);
  expect(right.json()).toEqual(wrong.json());
});
