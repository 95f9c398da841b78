import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let token: string;
let id: string;

beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  id = await createRecord(gateway, token);
});
afterAll(() => gateway.close());

async function pathsOf(query: string, variables: Record<string, unknown> = {}): Promise<string[]> {
  const { errors } = await gateway.graphql(token, query, variables);
  return errors?.flatMap(({ extensions }) => extensions.fields?.map(({ path }) => path) ?? ["none"]) ?? [];
}

const UPDATE = "updateKyc(input: $i) { kyc { id } }";

test("a fault of an input has the path from the argument, in whatever way the value came", async () => {
  const path = ["input.verificationStatus"];
  expect(
    await pathsOf(`mutation ($i: UpdateKycInput!) { ${UPDATE} }`, { i: { id, verificationStatus: "NO" } }),
  ).toEqual(path);
  const inside = "updateKyc(input: { id: $id, verificationStatus: $word }) { kyc { id } }";
  expect(
    await pathsOf(`mutation ($id: ID!, $word: VerificationStatus) { ${inside} }`, { id, word: "NO" }),
  ).toEqual(path);
  expect(
    await pathsOf(`mutation { updateKyc(input: { id: "${id}", verificationStatus: NO }) { kyc { id } } }`),
  ).toEqual(path);
  // The operation finds this one.
  expect(
    await pathsOf(`mutation { updateKyc(input: { id: "${id}", verificationStatus: null }) { kyc { id } } }`),
  ).toEqual(path);
});

test.each([
  ["{ kyc { id } }", {}, ["id"]],
  ["{ kyc(id: null) { id } }", {}, ["id"]],
  ["{ kyc(id: 1.5) { id } }", {}, ["id"]],
  ["{ nodes(ids: [1.5, true]) { id } }", {}, ["ids.0", "ids.1"]],
  ['{ kycs(filter: { createdAt: { from: "2026-10-30" } }) { totalCount } }', {}, ["filter.createdAt.from"]],
  ["{ kycs(filter: { createdAt: { from: {} } }) { totalCount } }", {}, ["filter.createdAt.from"]],
  ["{ kycs(filter: { colour: 1 }) { totalCount } }", {}, ["filter.colour"]],
  [
    "query ($t: DateTime) { kycs(filter: { createdAt: { to: $t } }) { totalCount } }",
    { t: "x" },
    ["filter.createdAt.to"],
  ],
  ["query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", { ids: ["a", {}, []] }, ["ids.1", "ids.2"]],
  ["query ($a: ID!, $b: ID!) { nodes(ids: [$a, $b]) { id } }", { a: "a", b: {} }, ["ids.1"]],
  ["query ($n: Int) { ...f } fragment f on Query { kycs(first: $n) { totalCount } }", { n: "x" }, ["first"]],
  ['query ($n: Int = "x") { kycs(first: $n) { totalCount } }', {}, ["$n"]],
  ["query ($b: Boolean!) { __typename @skip(if: $b) }", { b: 1 }, ["if"]],
  ["mutation { deleteKyc(input: {}) { deletedId } }", {}, ["input.id"]],
  ['query ($id: ID = "x") { kyc(id: $id) { id } }', { id: null }, ["id"]],
  ['mutation ($id: ID = "x") { deleteKyc(input: { id: $id }) { deletedId } }', { id: null }, ["input.id"]],
  [
    'mutation ($id: ID = "x", $v: Int = 1) { deleteKyc(input: { id: $id, expectedVersion: $v }) { deletedId } }',
    { id: null },
    ["input.id"],
  ],
])("%s with %j has faults at the right arguments", async (query, variables, expected) => {
  expect(await pathsOf(query, variables)).toEqual(expected);
});

test("a date without a time is refused with an example of what is accepted, in a literal and in a variable", async () => {
  const literal = await gateway.graphql(
    token,
    '{ kycs(filter: { createdAt: { to: "2026-10-30" } }) { totalCount } }',
  );
  const query = "query ($t: DateTime) { kycs(filter: { createdAt: { to: $t } }) { totalCount } }";
  const variable = await gateway.graphql(token, query, { t: "2026-10-30" });
  for (const { errors } of [literal, variable])
    expect(errors?.[0]?.extensions.fields?.[0]?.message).toMatch(/such as \d{4}-\d\d-\d\dT/);
});

test("a name that can be a value in the wrong place is repeated neither in a path nor in a message", async () => {
  const { errors } = await gateway.graphql(token, "{ kycs(filter: { P1234567: 1 }) { totalCount } }");
  expect(JSON.stringify(errors)).not.toContain("P1234567");
});
