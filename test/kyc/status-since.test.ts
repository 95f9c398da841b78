import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { settleAll } from "../../src/kyc/status-since.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
});
afterAll(() => gateway.close());

const START = Date.parse("2026-01-01T00:00:00Z");
const DAY = 86_400_000;

async function at<T>(day: number, work: () => Promise<T>): Promise<T> {
  gateway.clock.now = START + day * DAY;
  try {
    return await work();
  } finally {
    gateway.clock.now = undefined;
  }
}

const update = (id: string, changes: Record<string, unknown>) =>
  gateway.graphql(
    token,
    "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { statusSince version } } }",
    { input: { id, ...changes } },
  );

/** The day since when the record has its status, and its version. */
async function statusOf(id: string): Promise<[day: number, version: number]> {
  const { data } = await gateway.graphql(token, `{ kyc(id: "${id}") { statusSince version } }`);
  return [(Date.parse(data.kyc.statusSince) - START) / DAY, data.kyc.version];
}

/** As a record is after an upgrade: release 0.2 knew none of these columns. */
const forget = (id: string) =>
  gateway.db.execute(
    "update kycs set status_since = null, status_since_version = null where account_id = 'acme' and id = $1",
    [id],
  );

/** The statements that a replica of release 0.2 sends. */
async function changeAsBefore(id: string, day: number, status: string): Promise<void> {
  await gateway.db.execute(
    `update kycs set verification_status = $2::verification_status, version = version + 1, updated_at = $3::timestamptz,
       sealed_version = case when sealed_version is not null then version + 1 end
     where account_id = 'acme' and id = $1`,
    [id, status, new Date(START + day * DAY).toISOString()],
  );
  await gateway.db.execute(
    `with event as (
       insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields,
         status_before, status_after)
       select 'acme', $3::timestamptz, 't', 't', 'rest', 'r', 'updated', array[$1], '{verificationStatus}', 'pending', $2::verification_status
       returning sequence)
     insert into audit_event_records select 'acme', $1, sequence from event`,
    [id, status, new Date(START + day * DAY).toISOString()],
  );
}

test("a new record has its status since its creation, and only a change of the status changes that", async () => {
  const id = await at(0, () => createRecord(gateway, token));
  await at(1, () => update(id, { documentType: "VISA" }));
  expect(await statusOf(id)).toEqual([0, 2]);
  await at(2, () => update(id, { verificationStatus: "VERIFIED" }));
  await at(3, () => update(id, { expiresAt: "2030-01-01T00:00:00Z" }));
  expect(await statusOf(id)).toEqual([2, 4]);
  expect(await settleAll(gateway.db)).toBe(0);
});

test("of a record of an earlier release, the trail says it, otherwise the time of its last change", async () => {
  const [known, unknown] = await at(10, () =>
    Promise.all([createRecord(gateway, token), createRecord(gateway, token)]),
  );
  await at(11, () => update(known, { verificationStatus: "FAILED" }));
  for (const id of [known, unknown]) await at(12, () => update(id, { documentType: "VISA" }));
  await gateway.db.execute("delete from audit_events where kyc_ids[1] = $1", [unknown]);
  await Promise.all([known, unknown].map(forget));
  // Until the trail was read, it is the time of the last change.
  expect([await statusOf(known), await statusOf(unknown)]).toEqual([
    [12, 3],
    [12, 2],
  ]);
  expect(await settleAll(gateway.db)).toBe(2);
  expect([await statusOf(known), await statusOf(unknown)]).toEqual([
    [11, 3],
    [12, 2],
  ]);
  expect(await settleAll(gateway.db)).toBe(0);
});

test("a change of other values before that leaves the trail to be read, and a change of the status does not", async () => {
  const [same, other] = await at(20, () =>
    Promise.all([createRecord(gateway, token), createRecord(gateway, token)]),
  );
  for (const id of [same, other]) await at(21, () => update(id, { verificationStatus: "FAILED" }));
  for (const id of [same, other]) await at(22, () => update(id, { documentType: "VISA" }));
  await Promise.all([same, other].map(forget));
  await at(23, () => update(same, { documentType: "PASSPORT" }));
  await at(23, () => update(other, { verificationStatus: "VERIFIED" }));
  expect([await statusOf(same), await statusOf(other)]).toEqual([
    [22, 4],
    [23, 4],
  ]);
  expect(await settleAll(gateway.db)).toBe(1);
  expect([await statusOf(same), await statusOf(other)]).toEqual([
    [21, 4],
    [23, 4],
  ]);
});

test("a status that a replica of the earlier release changes during an upgrade is found out", async () => {
  const id = await at(30, () => createRecord(gateway, token));
  await changeAsBefore(id, 31, "verified");
  expect(await settleAll(gateway.db)).toBe(1);
  expect(await statusOf(id)).toEqual([31, 2]);
});

test("the change of a record's status is looked up in an index", async () => {
  const sent = vi.spyOn(gateway.db, "send");
  await settleAll(gateway.db);
  const text = sent.mock.calls.map(([sql]) => sql).find((sql) => sql.includes("audit_events"));
  sent.mockRestore();
  const plan = await gateway.db.execute(`explain (generic_plan, format json) ${text}`);
  expect(JSON.stringify(plan)).toContain("audit_events_by_record");
});

test("records of many steps and accounts are each settled once, also by two replicas at the same time", async () => {
  await gateway.db.execute(`
    insert into kycs (account_id, id, customer_id, verification_status, document_type, sealed_number, number_digest, sealed_version,
      created_at, updated_at, version)
    select 'old' || g % 3, lpad(g::text, 16, '0'), 'c', 'pending', 'visa', 's' || g, 'd' || g, 1, now(), now(), 1
    from generate_series(1, 1000) g`);
  const settled = await Promise.all([settleAll(gateway.db), settleAll(gateway.db)]);
  expect((settled[0] as number) + (settled[1] as number)).toBe(1000);
  expect(await settleAll(gateway.db)).toBe(0);
});
