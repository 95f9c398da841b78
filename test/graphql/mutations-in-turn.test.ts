import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hashToken } from "../../src/auth/token.ts";
import { findToken, revokeToken } from "../../src/auth/tokens.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

/** How long a revoked token may be taken still. Milliseconds. */
const REVOKED_AFTER = 1000;

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

const isWaitedFor = async () =>
  (
    await gateway.db.execute(
      "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    )
  ).length > 0;

const TWO_UPDATES = `mutation ($id: ID!) {
  first: updateKyc(input: { id: $id, verificationStatus: VERIFIED }) { kyc { version } }
  second: updateKyc(input: { id: $id, documentType: VISA }) { kyc { version } }
}`;

test.each([
  ["fast", "application/json"],
  ["plain", "application/json;q=1"],
])(
  "of a document's mutations those do not begin whose token was revoked before, on the %s way",
  async (_way, accept) => {
    const token = await gateway.token("acme");
    const id = await createRecord(gateway, token);
    let asked: ReturnType<TestApp["graphql"]> | undefined;
    await gateway.db.transaction(async (tx) => {
      await tx.execute("select 1 from kycs where id = $1 for update", [id]);
      asked = gateway.graphql(token, TWO_UPDATES, { id }, { accept });
      await expect.poll(isWaitedFor).toBe(true);
      const known = await findToken(gateway.db, gateway.keys, hashToken(token));
      await revokeToken(gateway.db, gateway.keys, String(known?.id), Date.now());
      await wait(REVOKED_AFTER);
    });
    expect(await asked).toMatchObject({
      status: 200,
      errors: [{ path: ["second"], extensions: { code: "UNAUTHENTICATED" } }],
    });
    const stored = await gateway.db.execute("select version, document_type from kycs where id = $1", [id]);
    expect(stored).toEqual([{ version: 2, document_type: "passport" }]);
  },
);
