import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { prepareImport } from "../../src/kyc/import-kycs.ts";
import { sealedNumbers } from "../../src/kyc/number/sealed-numbers.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { importKycs } from "../support/imported.ts";
import { executedPlanOf } from "../support/plans.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp({
    AUDIT_READS: "on",
    ENCRYPTION_KEYS: `one:${Buffer.alloc(32, 1).toString("base64")}`,
  });
});
afterAll(() => gateway.close());

const COUNT = "query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on Kyc { sameDocumentCount } } }";
async function countsOf(token: string, ids: string[], of = gateway): Promise<number[]> {
  const { data, errors } = await of.graphql(token, COUNT, { ids });
  expect(errors).toBeUndefined();
  return data.nodes.map(({ sameDocumentCount }: { sameDocumentCount: number }) => sameDocumentCount);
}
const create = (token: string, ...numbers: string[]) =>
  Promise.all(numbers.map((documentNumber) => createRecord(gateway, token, { documentNumber })));

test("it counts the other records of the account with the number, whatever their customer, status and kind", async () => {
  const [token, foreign] = [await gateway.token("counts"), await gateway.token("foreign")];
  const ids = await create(token, "A-1", "A-1", "A-1", "B-1", "a-1");
  await create(foreign, "A-1", "B-1");
  ids.push(
    await createRecord(gateway, token, {
      ...{ customerId: "another", documentNumber: "A-1", documentType: "VISA", verificationStatus: "FAILED" },
    }),
  );
  expect(await countsOf(token, ids)).toEqual([3, 3, 3, 0, 0, 3]);
  const update = "mutation ($i: UpdateKycInput!) { updateKyc(input: $i) { kyc { sameDocumentCount } } }";
  const { data } = await gateway.graphql(token, update, { i: { id: ids[0], documentNumber: "B-1" } });
  expect(data.updateKyc.kyc.sameDocumentCount).toBe(1);
  expect(await countsOf(token, ids)).toEqual([1, 2, 2, 1, 0, 2]);
});

test("without kyc:pii it is null with an error that names the scope, also in the answer to a write", async () => {
  const token = await gateway.token("masked", ["kyc:read", "kyc:write"]);
  const id = await createRecord(gateway, token);
  for (const [query, variables] of [
    [COUNT, { ids: [id] }],
    [
      "mutation ($i: UpdateKycInput!) { updateKyc(input: $i) { kyc { sameDocumentCount } } }",
      { i: { id, documentNumber: "X1234567" } },
    ],
  ] as const) {
    const { data, errors } = await gateway.graphql(token, query, variables);
    expect((data.nodes?.[0] ?? data.updateKyc.kyc).sameDocumentCount).toBeNull();
    expect(errors).toHaveLength(1);
    expect(errors?.[0]).toMatchObject({ extensions: { code: "FORBIDDEN" } });
    expect(errors?.[0]?.message).toContain("kyc:pii");
  }
  const writer = await gateway.token("masked", ["kyc:write", "kyc:pii"]);
  const { errors } = await gateway.graphql(
    writer,
    "mutation ($i: UpdateKycInput!) { updateKyc(input: $i) { kyc { id sameDocumentCount } } }",
    { i: { id, documentType: "VISA" } },
  );
  expect(errors?.[0]?.extensions.code).toBe("FORBIDDEN");
});

test("a page is one statement, and the trail has each record whose number was counted", async () => {
  const token = await gateway.token("audited");
  const ids = await create(token, ...Array.from({ length: 30 }, (_, index) => `P-${index % 7}`));
  const sent: string[] = [];
  const { send } = gateway.db;
  gateway.db.send = (text, values) => {
    sent.push(text);
    return send.call(gateway.db, text, values);
  };
  try {
    await gateway.graphql(token, "{ kycs(first: 100) { nodes { sameDocumentCount } } }");
  } finally {
    gateway.db.send = send;
  }
  expect(sent.filter((text) => text.includes("number_digest = any"))).toHaveLength(1);
  const { data } = await gateway.graphql(
    token,
    "{ auditEvents(first: 1, filter: { action: READ }) { nodes { kycIds } } }",
  );
  expect(data.auditEvents.nodes[0].kycIds.sort()).toEqual([...ids].sort());
});

test("it counts records whose numbers are sealed under different keys, during a rotation and after it", async () => {
  const token = await gateway.token("rotated");
  const before = await create(token, "R-1", "R-1");
  const entries = ["two", "one"].map((id, index) => ({ id, secret: Buffer.alloc(32, 2 - index) }));
  const keys = new Keyring(entries);
  for (const milestone of gateway.keys.reached) keys.reached.add(milestone);
  const replica = await createTestApp({ AUDIT_READS: "on" }, { ...gateway, keys });
  const create2 = "mutation ($i: CreateKycInput!) { createKyc(input: $i) { kyc { id sameDocumentCount } } }";
  const input = {
    customerId: "c",
    verificationStatus: "PENDING",
    documentType: "VISA",
    documentNumber: "R-1",
  };
  const { data } = await replica.graphql(token, create2, { i: input });
  expect(data.createKyc.kyc.sameDocumentCount).toBe(2);
  const ids = [...before, data.createKyc.kyc.id];
  expect(await countsOf(token, ids, replica)).toEqual([2, 2, 2]);
  await sealedNumbers.reseal(replica.db, keys, () => {});
  expect(await countsOf(token, ids, replica)).toEqual([2, 2, 2]);
  await replica.close();
});

/** How many records PostgreSQL reads for the statements that `work` sends. */
async function recordsReadBy(work: () => Promise<unknown>): Promise<number> {
  const sent = vi.spyOn(gateway.db, "send");
  await work();
  const calls = [...sent.mock.calls];
  sent.mockRestore();
  const plans = await Promise.all(
    calls
      .filter(([text]) => text.includes("from kycs"))
      .map(([text, values]) => executedPlanOf(gateway.db, text, values)),
  );
  return plans
    .flat()
    .filter((node) => node["Relation Name"] === "kycs")
    .map((node) => {
      const {
        "Actual Rows": found = 0,
        "Rows Removed by Filter": left = 0,
        "Actual Loops": loops = 0,
      } = node;
      return (found + left) * loops;
    })
    .reduce((a, b) => a + b, 0);
}

test("it counts up to 1000, and reads no more for a page of records that all have one number", async () => {
  const token = await gateway.token("crowd");
  const ctx = { ...gateway, accountId: "crowd", requestId: "cmd_1", idSecret: Buffer.alloc(32) };
  const template = {
    customerId: "c",
    documentNumber: "SAME",
    documentType: "visa",
    verificationStatus: "failed",
  } as const;
  const prepared = Array.from({ length: 100 }, (_, index) =>
    prepareImport(ctx, { ...template, id: `CROWD${String(index).padStart(11, "0")}` }, Date.now()),
  );
  await gateway.db.transaction((tx) => importKycs(tx, ctx, prepared));
  expect(await countsOf(token, [prepared[0]?.kyc.id as string])).toEqual([99]);
  // Only their digests matter here.
  await gateway.db.execute(`
    insert into kycs (account_id, id, customer_id, verification_status, document_type, sealed_number, number_digest, sealed_version,
      created_at, updated_at, version)
    select account_id, 'MORE' || lpad(g::text, 12, '0'), customer_id, verification_status, document_type, sealed_number, number_digest, 1,
      now() - g * interval '1 s', now(), 1
    from kycs, generate_series(1, 3000) g where account_id = 'crowd' and id = 'CROWD00000000000'`);
  let counts: number[] = [];
  const read = await recordsReadBy(async () => {
    counts = await countsOf(
      token,
      prepared.map(({ kyc }) => kyc.id),
    );
  });
  expect(counts).toEqual(Array(100).fill(1000));
  // Of each record, those with its number up to 1000, and itself.
  expect(read).toBeGreaterThanOrEqual(100_000);
  expect(read).toBeLessThanOrEqual(100 * 1001);
});

test("a record whose number can't be decrypted has no count, and the others of the page have theirs", async () => {
  const token = await gateway.token("broken");
  const [broken, other] = await create(token, "Q-1", "Q-1");
  await gateway.db.execute(
    "update kycs set sealed_number = 'lost.AAAA' where account_id = 'broken' and id = $1",
    [broken],
  );
  const { data, errors } = await gateway.graphql(token, COUNT, { ids: [broken, other] });
  expect(data.nodes.map(({ sameDocumentCount }: { sameDocumentCount: number }) => sameDocumentCount)).toEqual(
    [null, 1],
  );
  expect(errors).toHaveLength(1);
  expect(errors?.[0]?.extensions.code).toBe("INTERNAL");
});
