import { afterAll, beforeAll, expect, test } from "vitest";
import { prepareImport } from "../../src/kyc/import-kycs.ts";
import { startSealer } from "../../src/ledger/seal.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { importKycs } from "../support/imported.ts";
import { createRecord, goodInput } from "../support/records.ts";
import { addWebhook } from "../support/webhooks.ts";

let gateway: TestApp;
let token: string;
let stopSealer: () => Promise<void>;

beforeAll(async () => {
  gateway = await createTestApp({ AUDIT_READS: "true", REQUEST_TIMEOUT: "1 min" });
  token = await gateway.token("acme");
  stopSealer = startSealer({
    ...{ db: gateway.db, openDigests: async () => gateway.digestCustomer },
    log: { warn: () => {}, error: () => {} } as never,
  });
});
afterAll(async () => {
  await stopSealer();
  await gateway.close();
});

const ERASURE = "id erasedAt recordCount position proof records(first: 100) { kycId position proof }";
const erase = (customerId: string, { by = token, reason = "asked by mail", headers = {} } = {}) =>
  gateway.graphql(
    by,
    `mutation ($input: EraseCustomerInput!) { eraseCustomer(input: $input) { erasure { ${ERASURE} } } }`,
    { input: { customerId, reason } },
    headers,
  );
const idsOf = async (customerId: string, account = "acme") =>
  (
    await gateway.db.execute<{ id: string }>(
      "select id from kycs where account_id = $1 and customer_id = $2 order by id",
      [account, customerId],
    )
  ).map(({ id }) => id);

/** Everything that the database has, a row in each line, and the log. */
async function everything(): Promise<string> {
  const tables = await gateway.db.execute<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')",
  );
  const lines = [gateway.logged()];
  for (const { name } of tables) {
    const rows = await gateway.db.execute<{ row: string }>(`select t::text as row from "${name}" t`);
    lines.push(...rows.map(({ row }) => `${name}: ${row}`));
  }
  return lines.join("\n");
}

test("an erasure deletes the customer's records, and its receipt proves each deletion", async () => {
  const customerId = "to be erased";
  for (let n = 0; n < 3; n++) await createRecord(gateway, token, { customerId, documentNumber: `N-${n}00` });
  const other = await createRecord(gateway, token, { customerId: `${customerId} not` });
  const globex = await gateway.token("globex");
  const foreign = await createRecord(gateway, globex, { customerId });
  const ids = await idsOf(customerId);
  const { data, errors } = await erase(customerId);
  expect(errors).toBeUndefined();
  const { erasure } = data.eraseCustomer;
  expect(erasure.recordCount).toBe(3);
  expect(erasure.records.map(({ kycId }: { kycId: string }) => kycId).sort()).toEqual(ids);
  expect(await idsOf(customerId)).toEqual([]);
  expect(await idsOf(`${customerId} not`)).toEqual([other]);
  expect(await idsOf(customerId, "globex")).toEqual([foreign]);
  for (const { kycId, position, proof } of erasure.records) {
    const extra = Buffer.from(/^extra (\S+)$/m.exec(proof)?.[1] ?? "", "base64").toString();
    expect(extra).toContain(`\nposition ${position}\n`);
    expect(extra).toContain(`\naction deleted\nrecord ${kycId}\n`);
  }
  const own = Buffer.from(/^extra (\S+)$/m.exec(erasure.proof)?.[1] ?? "", "base64").toString();
  expect(own).toContain(`\naction customer_erased\nsubject ${erasure.id}\n`);
  // It can be read again, by nobody else.
  const read = (by: string) =>
    gateway.graphql(by, `{ erasure(id: "${erasure.id}") { id recordCount records(skip: 2) { kycId } } }`);
  expect((await read(token)).data.erasure).toMatchObject({ recordCount: 3, records: [{}] });
  expect((await read(globex)).data.erasure).toBeNull();
  const trail = await gateway.graphql(
    token,
    `{ auditEvents(filter: { customerId: "${customerId}", action: CUSTOMER_ERASED }) { nodes { subject reason } } }`,
  );
  expect(trail.data.auditEvents.nodes).toEqual([{ subject: erasure.id, reason: "asked by mail" }]);
});

test("the same key gives the same receipt, and no second erasure", async () => {
  const customerId = "erased once";
  await createRecord(gateway, token, { customerId });
  const headers = { "idempotency-key": "erase once" };
  const first = await erase(customerId, { headers });
  await createRecord(gateway, token, { customerId });
  const again = await erase(customerId, { headers });
  const { proof, records, ...receipt } = first.data.eraseCustomer.erasure;
  expect(again.data.eraseCustomer.erasure).toMatchObject(receipt);
  expect(again.headers["idempotent-replayed"]).toBe("true");
  expect(await idsOf(customerId)).toHaveLength(1);
});

test("an erasure with one held record deletes nothing, and so does one of a held customer without records", async () => {
  const customerId = "partly held";
  const ids = [
    await createRecord(gateway, token, { customerId }),
    await createRecord(gateway, token, { customerId }),
  ];
  const hold = async (target: string) => {
    const { data } = await gateway.graphql(
      token,
      `mutation { placeHold(input: { ${target}, reason: "why" }) { hold { id } } }`,
    );
    return data.placeHold.hold.id;
  };
  const held = await hold(`kycId: "${ids[1]}"`);
  const refused = await erase(customerId);
  expect(refused.errors?.[0]?.extensions).toMatchObject({ code: "LEGAL_HOLD", holdId: held });
  expect(await idsOf(customerId)).toHaveLength(2);
  await hold('customerId: "nobody"');
  expect((await erase("nobody")).errors?.[0]?.extensions.code).toBe("LEGAL_HOLD");
});

test.each(["about erased-5 again", "his passport Z 99-88 77"])("the reason can't be %j", async (reason) => {
  await createRecord(gateway, token, { customerId: "erased-5", documentNumber: "Z998877" });
  const { errors } = await erase("erased-5", { reason });
  expect(errors?.[0]?.extensions).toMatchObject({ fields: [{ path: "input.reason" }] });
});

test("after an erasure, nothing of the customer is found but what the trail keeps", async () => {
  const canary = "cAnArY0815";
  const customerId = `${canary}-customer`;
  await addWebhook(gateway, "acme", "https://example.com/hook");
  const reason = `${canary} said so`;
  const input = { ...goodInput, customerId, documentNumber: `${canary}-1` };
  const mutate = (text: string, variables: object, key: string) =>
    gateway.graphql(token, text, variables as Record<string, unknown>, {
      "idempotency-key": `${canary} ${key}`,
    });
  const made = await mutate(
    "mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id documentNumber } } }",
    { input: { ...input, reason } },
    "create",
  );
  const { id } = made.data.createKyc.kyc;
  await mutate(
    "mutation ($input: [CreateKycInput!]!) { createKycs(input: $input) { results { kyc { id } error { message } } } }",
    {
      input: [
        { ...input, documentNumber: `${canary}-2`, reason },
        { ...input, documentNumber: "", reason },
      ],
    },
    "bulk",
  );
  await gateway.rest(token, "POST", "/v1/kyc", {
    form: {
      ...{ customer_id: customerId, verification_status: "pending", document_type: "visa" },
      document_number: `${canary}-3`,
    },
    headers: { "kyc-reason": reason, "idempotency-key": `${canary} rest` },
  });
  await mutate(
    "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { version } } }",
    { input: { id, documentNumber: `${canary}-4`, verificationStatus: "VERIFIED", reason } },
    "update",
  );
  for (const target of [`kycId: "${id}"`, `customerId: "${customerId}"`]) {
    const held = await mutate(
      `mutation { placeHold(input: { ${target}, reason: "a case of ${canary}" }) { hold { id } } }`,
      {},
      `hold ${target}`,
    );
    await mutate(
      `mutation { releaseHold(input: { id: "${held.data.placeHold.hold.id}", reason: "the ${canary} is over" }) { hold { id } } }`,
      {},
      `release ${target}`,
    );
  }
  const ctx = {
    ...{ accountId: "acme", requestId: "cmd_canary", keys: gateway.keys, idSecret: Buffer.alloc(32) },
    digestCustomer: gateway.digestCustomer,
  };
  const imported = { ...input, verificationStatus: "pending", documentType: "visa" } as const;
  const prepared = prepareImport(ctx, { ...imported, documentNumber: `${canary}-5` }, Date.now());
  await gateway.db.transaction((tx) => importKycs(tx, ctx, [prepared]));
  expect(await everything()).toContain(canary);
  const { errors, data } = await erase(customerId, { headers: { "idempotency-key": `${canary} erase` } });
  expect(errors).toBeUndefined();
  expect(data.eraseCustomer.erasure.recordCount).toBe(4);
  const left = (await everything())
    .split("\n")
    .filter((line) => line.toLowerCase().includes(canary.toLowerCase()));
  expect(left).toEqual([]);
  // The results under its keys are gone, too.
  const [kept] = await gateway.db.execute<{ n: number }>(
    `select count(*)::int as n from idempotency_keys where sealed_result is not null and kyc_id = any($1)`,
    [data.eraseCustomer.erasure.records.map(({ kycId }: { kycId: string }) => kycId)],
  );
  expect(kept?.n).toBe(0);
  // Earlier events are proven all the same, without the texts of their reasons.
  const trail = await gateway.graphql(
    token,
    `{ auditEvents(first: 100, filter: { customerId: "${customerId}" }) { nodes { action reason proof } } }`,
  );
  expect(trail.errors).toBeUndefined();
  expect(
    new Set(trail.data.auditEvents.nodes.map(({ reason: text }: { reason: string | null }) => text)),
  ).toEqual(new Set(["asked by mail", null]));
});
