import { expect, onTestFinished, test } from "vitest";
import { prepareImport } from "../../src/kyc/import-kycs.ts";
import { startSealer } from "../../src/ledger/seal.ts";
import { createTestApp } from "../support/app.ts";
import { importKycs } from "../support/imported.ts";
import { sealAll } from "../support/ledger.ts";

test("ten thousand records are erased in one transaction, and one more is refused before anything is deleted", async () => {
  const gateway = await createTestApp({ AUDIT_READS: "true", REQUEST_TIMEOUT: "1 min" });
  onTestFinished(() => gateway.close());
  const token = await gateway.token("acme");
  const stopSealer = startSealer({
    ...{ db: gateway.db, openDigests: async () => gateway.digestCustomer },
    log: { warn: () => {}, error: () => {} },
  });
  onTestFinished(stopSealer);
  const erase = (headers = {}) =>
    gateway.graphql(
      token,
      `mutation ($input: EraseCustomerInput!) { eraseCustomer(input: $input) { erasure {
        id erasedAt recordCount position proof records(first: 100) { kycId position proof }
      } } }`,
      { input: { customerId, reason: "asked by mail" } },
      headers,
    );
  const customerId = "with many";
  const idsOfAll = () =>
    gateway.db.execute<{ id: string }>("select id from kycs where account_id = 'acme' and customer_id = $1", [
      customerId,
    ]);
  const ctx = {
    ...{ accountId: "acme", requestId: "cmd_1", keys: gateway.keys, idSecret: Buffer.alloc(32) },
    digestCustomer: gateway.digestCustomer,
  };
  const one = { customerId, verificationStatus: "pending", documentType: "visa" } as const;
  const prepared = Array.from({ length: 10_001 }, (_, n) =>
    prepareImport(ctx, { ...one, documentNumber: `N-${n}` }, Date.now()),
  );
  for (let from = 0; from < prepared.length; from += 1000)
    await gateway.db.transaction((tx) => importKycs(tx, ctx, prepared.slice(from, from + 1000)));
  const refused = await erase();
  expect(refused.errors?.[0]?.message).toMatch(/more than 10000 records.*deleteKyc/);
  const found = await idsOfAll();
  expect(found).toHaveLength(10_001);
  await gateway.rest(token, "DELETE", `/v1/kyc/${found[0]?.id}`);
  await sealAll(gateway.db);
  const startedAt = performance.now();
  const headers = { "idempotency-key": "erase many" };
  let { data, errors } = await erase(headers);
  expect(performance.now() - startedAt).toBeLessThan(30_000);
  expect(await idsOfAll()).toEqual([]);
  // On a busy machine the sealer is late, and the receipt is asked for again.
  await sealAll(gateway.db);
  if (errors) ({ data, errors } = await erase(headers));
  expect(errors).toBeUndefined();
  expect(data.eraseCustomer.erasure).toMatchObject({ recordCount: 10_000 });
});
