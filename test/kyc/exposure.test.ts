import { afterAll, beforeAll, expect, test } from "vitest";
import type { Scope } from "../../src/auth/scopes.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

const NUMBER = "ZQ-4711-9";
const MASKED = "•••••11-9";

let gateway: TestApp;
let full: string;
let limited: string;
let id: string;
beforeAll(async () => {
  gateway = await createTestApp();
  full = await gateway.token("acme");
  limited = await gateway.token("acme", ["kyc:read", "kyc:write"] satisfies Scope[]);
  id = await createRecord(gateway, full, { documentNumber: NUMBER });
});
afterAll(() => gateway.close());

const EVERYWHERE = `query ($id: ID!) {
  kyc(id: $id) { documentNumber }
  node(id: $id) { ... on Kyc { documentNumber } }
  nodes(ids: [$id]) { ... on Kyc { documentNumber } }
  kycs { nodes { documentNumber } edges { node { documentNumber } } }
}`;
const UPDATE =
  "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { documentNumber version } } }";

/** The number as each read of either surface shows it. */
async function seenBy(token: string): Promise<string[]> {
  const { data } = await gateway.graphql(token, EVERYWHERE, { id });
  const one = await gateway.rest(token, "GET", `/v1/kyc/${id}`);
  const list = await gateway.rest(token, "GET", "/v1/kyc");
  return [
    ...[data.kyc, data.node, data.nodes[0], data.kycs.nodes[0], data.kycs.edges[0].node].map(
      ({ documentNumber }) => documentNumber,
    ),
    one.json().document_number,
    list.json().data[0].document_number,
  ];
}

test("every read shows the number to a token with kyc:pii, and masked to one without", async () => {
  expect(new Set(await seenBy(full))).toEqual(new Set([NUMBER]));
  expect(new Set(await seenBy(limited))).toEqual(new Set([MASKED]));
});

test("requests of both tokens at once, which share one statement, each see what they may", async () => {
  const tokens = Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? full : limited));
  const seen = await Promise.all(tokens.map(seenBy));
  for (const [index, numbers] of seen.entries()) {
    expect(new Set(numbers)).toEqual(new Set([index % 2 === 0 ? NUMBER : MASKED]));
  }
});

test("answers of writes are masked, too", async () => {
  const created = await gateway.graphql(
    limited,
    `mutation { createKyc(input: { customerId: "c", verificationStatus: PENDING, documentType: VISA, documentNumber: "AB1234" }) { kyc { id documentNumber } } }`,
  );
  expect(created.data.createKyc.kyc.documentNumber).toBe("•••234");
  const url = `/v1/kyc/${created.data.createKyc.kyc.id}`;
  const changed = await gateway.rest(limited, "PUT", url, { form: { document_number: "AB12345678" } });
  expect(changed.json().document_number).toBe("••••••5678");
  expect((await gateway.rest(full, "GET", url)).json().document_number).toBe("AB12345678");
  await gateway.rest(full, "DELETE", url);
});

test("a record that is sent back as it was shown masked keeps its number and version", async () => {
  for (const token of [limited, full]) {
    const shown = (await gateway.rest(limited, "GET", `/v1/kyc/${id}`)).json();
    const back = await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { json: shown });
    expect({ status: back.statusCode, etag: back.headers.etag }).toEqual({
      status: 200,
      etag: token === full ? '"1"' : '"1-masked"',
    });
    const { data } = await gateway.graphql(token, UPDATE, { input: { id, documentNumber: ` ${MASKED} ` } });
    expect(data.updateKyc.kyc.version).toBe(1);
  }
  expect((await gateway.rest(full, "GET", `/v1/kyc/${id}`)).json().document_number).toBe(NUMBER);
});

test("another masked number is refused, together with every other fault", async () => {
  const { errors } = await gateway.graphql(full, UPDATE, { input: { id, documentNumber: "•••••11-8" } });
  expect(errors?.[0]?.extensions).toMatchObject({
    code: "BAD_USER_INPUT",
    fields: [{ path: "input.documentNumber", message: "is a masked number" }],
  });
  const rest = await gateway.rest(full, "PUT", `/v1/kyc/${id}`, {
    json: { document_type: "scroll", document_number: "•", customer_id: "x" },
  });
  expect(rest.json().error.message).toMatch(/document_type.*customer_id.*document_number is a masked number/);
});

test("a search finds exactly the records with the number, in pages and counts, on both surfaces", async () => {
  const ids = [];
  for (let n = 0; n < 3; n += 1)
    ids.unshift(await createRecord(gateway, full, { documentNumber: "SOUGHT-1" }));
  await createRecord(gateway, full, { documentNumber: "SOUGHT-12" });
  await createRecord(gateway, await gateway.token("globex"), { documentNumber: "SOUGHT-1" });
  const SEARCH = `query ($n: String, $after: String) {
    kycs(first: 2, after: $after, filter: { documentNumber: $n }) {
      nodes { id } totalCount pageInfo { hasNextPage endCursor }
    }
  }`;
  const first = (await gateway.graphql(full, SEARCH, { n: " SOUGHT-1 " })).data.kycs;
  expect(first).toMatchObject({ nodes: ids.slice(0, 2).map((id) => ({ id })), totalCount: 3 });
  expect(first.pageInfo.hasNextPage).toBe(true);
  expect(Buffer.from(first.pageInfo.endCursor, "base64url").toString()).not.toContain("SOUGHT-1");
  const rest = (await gateway.graphql(full, SEARCH, { n: "SOUGHT-1", after: first.pageInfo.endCursor })).data
    .kycs;
  expect(rest).toMatchObject({ nodes: [{ id: ids[2] }], totalCount: 3, pageInfo: { hasNextPage: false } });

  const listed = await gateway.rest(full, "GET", "/v1/kyc?document_number=SOUGHT-1&limit=2");
  expect(listed.json()).toMatchObject({ has_more: true, data: [{ id: ids[0] }, { id: ids[1] }] });
  const searches = await Promise.all(
    ["SOUGHT-1", "SOUGHT-12", "SOUGHT-2", "sought-1"].map((n) =>
      gateway.rest(full, "GET", `/v1/kyc?document_number=${n}`),
    ),
  );
  expect(searches.map((answer) => answer.json().data.length)).toEqual([3, 1, 0, 0]);
  expect(gateway.logged()).not.toMatch(/SOUGHT-1/);
});
