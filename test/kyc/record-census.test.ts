import { afterAll, beforeAll, expect, test } from "vitest";
import { takeCensus } from "../../src/kyc/record-census.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

test("a census of no records counts none", async () => {
  const { byStatus } = (await takeCensus(gateway.db)) ?? {};
  expect(byStatus?.pending).toEqual({ records: 0, accounts: [0, 0, 0, 0, 0, 0, 0, 0, 0] });
});

test("a census counts each record once, over many steps, and accounts by how many records they have", async () => {
  await createRecord(gateway, await gateway.token("acme"));
  const copies = `
    insert into kycs (account_id, id, customer_id, verification_status, document_type, document_number, sealed_number,
      number_digest, created_at, updated_at, version, sealed_version)
    select 'account-' || account, lpad(n::text, 16, '0'), customer_id,
      (array['verified', 'failed'])[1 + n % 2]::verification_status, document_type, document_number, sealed_number,
      number_digest, created_at + n / 7 * interval '1 s', updated_at, version, sealed_version
    from kycs, generate_series(1, 3) account, generate_series(1, (10 ^ account)::int * 2) n where account_id = 'acme'`;
  await gateway.db.execute(copies);
  const { byStatus } = (await takeCensus(gateway.db)) ?? {};
  expect(byStatus).toMatchObject({
    pending: { records: 1, accounts: [1, 0, 0, 0, 0, 0, 0, 0, 0] },
    verified: { records: 1110, accounts: [0, 1, 1, 1, 0, 0, 0, 0, 0] },
    failed: { records: 1110, accounts: [0, 1, 1, 1, 0, 0, 0, 0, 0] },
    expired: { records: 0 },
  });
});

test("no two replicas count at the same moment", async () => {
  let end = () => {};
  const held = new Promise<void>((resolve) => {
    end = resolve;
  });
  let isDone = false;
  const holder = gateway.db.transaction(async (tx) => {
    await tx.execute("select pg_advisory_xact_lock(5207314186)");
    const census = takeCensus(gateway.db).then((result) => {
      isDone = true;
      return result;
    });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(isDone).toBe(false);
    end();
    return { census };
  });
  await held;
  const { census } = await holder;
  expect((await census)?.byStatus.pending.records).toBe(1);
});
