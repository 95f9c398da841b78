import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

const NUMBER = "ABC1234567";
/** The first is right. The second has its mask, the third has another. */
const GUESSES = [NUMBER, "XYZ9994567", "ZZ000"];

let gateway: TestApp;
let full: string;
let writer: string;
beforeAll(async () => {
  gateway = await createTestApp();
  full = await gateway.token("acme");
  writer = await gateway.token("acme", ["kyc:read", "kyc:write"]);
});
afterAll(() => gateway.close());

test.each([
  ["without a key", {}],
  ["under an idempotency key", { "idempotency-key": "KEY" }],
])("a token without kyc:pii sees the same for a right guess and wrong ones, %s", async (_name, extra) => {
  const seen = [];
  for (const guess of GUESSES) {
    const id = await createRecord(gateway, full, { documentNumber: NUMBER });
    const headers = Object.fromEntries(Object.entries(extra).map(([name, key]) => [name, `${key}${id}`]));
    const rest = await gateway.rest(writer, "PATCH", `/v1/kyc/${id}`, {
      json: { document_number: guess },
      headers,
    });
    const stale = await gateway.rest(writer, "PATCH", `/v1/kyc/${id}`, {
      json: { document_number: guess },
      headers: { "if-match": '"1"' },
    });
    const query = `mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { version } } }`;
    const graphql = await gateway.graphql(writer, query, { input: { id, documentNumber: guess } });
    const trail = `{ auditEvents(filter: { kycId: "${id}" }) { nodes { action changedFields } } }`;
    seen.push({
      rest: [rest.statusCode, rest.headers.etag, Object.keys(rest.json())],
      stale: stale.statusCode,
      graphql: [graphql.data, graphql.errors],
      trail: (await gateway.graphql(full, trail)).data,
    });
  }
  expect(seen[0]).toMatchObject({ rest: [200, '"2-masked"', expect.anything()], stale: 412 });
  for (const one of seen) expect(one).toEqual(seen[0]);
});

test.each(["customer_id", "id", "created_at", "updated_at"])(
  "a deeply nested %s is a 400 that names it, with an idempotency key too",
  async (name) => {
    const id = await createRecord(gateway, full);
    const nested = `${"[".repeat(30_000)}${"]".repeat(30_000)}`;
    const answer = await gateway.app.inject({
      method: "PATCH",
      url: `/v1/kyc/${id}`,
      headers: {
        authorization: `Bearer ${full}`,
        "content-type": "application/json",
        "idempotency-key": `nested ${name}`,
      },
      payload: `{"${name}": ${nested}}`,
    });
    expect(answer.statusCode).toBe(400);
    expect(answer.json().error.param).toBe(name);
  },
);
