import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hashToken } from "../../src/auth/token-secret.ts";
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
      await revokeToken(gateway.db, gateway.keys, String(known?.id), Date.now(), null);
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

test.each([
  ["NOT_FOUND", `updateKyc(input: { id: "0000000000000000", documentType: VISA }) { kyc { id } }`],
  ["BAD_USER_INPUT", `updateKyc(input: { id: "$ID", documentNumber: " " }) { kyc { id } }`],
  ["VERSION_CONFLICT", `deleteKyc(input: { id: "$ID", expectedVersion: 9 }) { deletedId }`],
  [
    "BAD_USER_INPUT",
    `createKyc(input: { customerId: "", verificationStatus: PENDING, documentType: VISA, documentNumber: "1" }) { kyc { id } }`,
  ],
  ["FORBIDDEN", `deleteKyc(input: { id: "$ID" }) { deletedId }`],
])(
  "a mutation that fails with %s hides neither the result before nor the one after it",
  async (code, failing) => {
    const token = await gateway.token("acme", code === "FORBIDDEN" ? ["kyc:read", "kyc:write"] : undefined);
    const id = await createRecord(gateway, token);
    const query = `mutation {
    before: updateKyc(input: { id: "${id}", verificationStatus: VERIFIED }) { kyc { version documentType } }
    failing: ${failing.replace("$ID", id)}
    after: updateKyc(input: { id: "${id}", documentType: OTHER }) { kyc { version documentType } }
  }`;
    for (const accept of ["application/json", "application/json;q=1"]) {
      const { status, data, errors } = await gateway.graphql(token, query, {}, { accept });
      expect({ status, data }).toMatchObject({
        status: 200,
        data: {
          before: { kyc: { version: accept === "application/json" ? 2 : 3 } },
          failing: null,
          after: { kyc: { version: 3, documentType: "OTHER" } },
        },
      });
      expect(errors?.map(({ path, extensions }) => [path, extensions.code])).toEqual([[["failing"], code]]);
    }
  },
);

test("once the database is unavailable, the rest of a document's mutations is not tried", async () => {
  const token = await gateway.token("acme");
  const [failing, other] = [await createRecord(gateway, token), await createRecord(gateway, token)];
  await gateway.db.execute(`create function refuse() returns trigger language plpgsql as
    $$ begin raise exception using errcode = '57P03'; end $$`);
  await gateway.db.execute(`create trigger refuse before update on kycs for each row
    when (old.id = '${failing}') execute function refuse()`);
  try {
    const query = `mutation {
      first: updateKyc(input: { id: "${failing}", documentType: VISA }) { kyc { version } }
      second: updateKyc(input: { id: "${other}", documentType: VISA }) { kyc { version } }
    }`;
    const { status, data, errors } = await gateway.graphql(token, query);
    expect({ status, data }).toEqual({ status: 503, data: { first: null, second: null } });
    expect(errors?.map(({ extensions }) => extensions.code)).toEqual(["UNAVAILABLE", "UNAVAILABLE"]);
    const [stored] = await gateway.db.execute("select version from kycs where id = $1", [other]);
    expect(stored).toEqual({ version: 1 });
  } finally {
    await gateway.db.execute("drop trigger refuse on kycs");
  }
});
