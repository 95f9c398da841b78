import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

const START = Date.parse("2026-03-01T12:00:00.000Z");
const time = (seconds: number) => new Date(START + seconds * 1000).toISOString();

let gateway: TestApp;
let token: string;
let id: string;
const AS_OF = `query ($id: ID!, $at: DateTime!) {
  kycAsOf(id: $id, at: $at) { kycId isDeleted verificationStatus documentType version since statusSince } }`;
async function asOf(seconds: number, of = id, by = token) {
  const { data, errors } = await gateway.graphql(by, AS_OF, { id: of, at: time(seconds) });
  expect(errors).toBeUndefined();
  return data.kycAsOf;
}
const put = (seconds: number, form: Record<string, string>) => {
  gateway.clock.now = START + seconds * 1000;
  return gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form });
};

beforeAll(async () => {
  gateway = await createTestApp({ AUDIT_READS: "true" });
  token = await gateway.token("acme");
  gateway.clock.now = START;
  id = await createRecord(gateway, token);
  await put(10, { verification_status: "verified" });
  await put(20, { document_type: "visa" });
  await gateway.rest(token, "GET", `/v1/kyc/${id}`);
  await put(30, { document_number: "Z9" });
  gateway.clock.now = START + 40_000;
  await gateway.rest(token, "DELETE", `/v1/kyc/${id}`);
  gateway.clock.now = undefined;
});
afterAll(() => gateway.close());

test("the state of a record on a date has status, kind of document, version, and since when, also after its deletion", async () => {
  const state = (
    verificationStatus: string,
    documentType: string,
    version: number,
    since: number,
    statusSince: number,
  ) => ({
    ...{ kycId: id, isDeleted: false, verificationStatus, documentType, version },
    ...{ since: time(since), statusSince: time(statusSince) },
  });
  expect(await asOf(-0.001)).toBeNull();
  expect(await asOf(0)).toEqual(state("PENDING", "PASSPORT", 1, 0, 0));
  expect(await asOf(9.999)).toEqual(state("PENDING", "PASSPORT", 1, 0, 0));
  expect(await asOf(10)).toEqual(state("VERIFIED", "PASSPORT", 2, 10, 10));
  expect(await asOf(25)).toEqual(state("VERIFIED", "VISA", 3, 20, 10));
  expect(await asOf(35)).toEqual(state("VERIFIED", "VISA", 4, 30, 10));
  const nothing = { verificationStatus: null, documentType: null, version: null, statusSince: null };
  expect(await asOf(40)).toEqual({ kycId: id, isDeleted: true, ...nothing, since: time(40) });
  expect(await asOf(4e9)).toMatchObject({ isDeleted: true });
});

test("a time between two milliseconds is before what happened at the later one", async () => {
  const ask = async (at: string) => (await gateway.graphql(token, AS_OF, { id, at })).data.kycAsOf;
  expect(await ask("2026-03-01T11:59:59.9999Z")).toBeNull();
  expect(await ask("2026-03-01T17:30:09.999999+05:30")).toMatchObject({
    verificationStatus: "PENDING",
    version: 1,
  });
  expect(await ask("2026-03-01T12:00:10.0009Z")).toMatchObject({
    verificationStatus: "VERIFIED",
    version: 2,
  });
  const literal = `{ kycAsOf(id: "${id}", at: "2026-03-01T12:00:39.9999Z") { isDeleted } }`;
  expect((await gateway.graphql(token, literal)).data.kycAsOf).toEqual({ isDeleted: false });
});

test("a record of another account, and an id that is none, have no state", async () => {
  expect(await asOf(20, id, await gateway.token("globex"))).toBeNull();
  for (const other of ["0000000000000000", "short", ""]) expect(await asOf(20, other)).toBeNull();
  const reader = await gateway.token("acme", ["kyc:read"]);
  const { errors } = await gateway.graphql(reader, AS_OF, { id, at: time(0) });
  expect(errors?.[0]?.extensions.code).toBe("FORBIDDEN");
});

/** Writes events as release 0.2 does: one for each of these actions, ten seconds apart. */
async function writeOld(
  kycId: string,
  changes: [action: string, before: string | null, after: string | null, fields?: string][],
) {
  for (const [index, [action, before, after, fields = ""]] of changes.entries()) {
    await gateway.db.execute(
      `with event as (
         insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields,
           status_before, status_after)
         values ('acme', $2, 't', 't', 'rest', 'r', $3::audit_action, array[$1], string_to_array($6, ','),
           $4::verification_status, $5::verification_status) returning account_id, sequence)
       insert into audit_event_records select account_id, $1, sequence from event`,
      [kycId, time(index * 10), action, before, after, fields],
    );
  }
}
const oldRecord = (kycId: string, type: string, version: number) =>
  gateway.db.execute(
    `insert into kycs (account_id, id, customer_id, verification_status, document_type, document_number, created_at, updated_at, version)
     values ('acme', $1, 'c', 'failed', $2::document_type, 'N', $3, $3, $4)`,
    [kycId, type, time(0), version],
  );

test("an event of release 0.2 does not say the kind of document: later events and the record do, unless it changed between", async () => {
  const old = "0000000000000001";
  await oldRecord(old, "visa", 4);
  await writeOld(old, [
    ["created", null, "pending"],
    ["updated", "pending", "verified", "verificationStatus"],
    ["updated", "verified", "verified", "documentType"],
    ["updated", "verified", "failed", "verificationStatus"],
  ]);
  expect(await asOf(-1, old)).toBeNull();
  expect(await asOf(0, old)).toMatchObject({ verificationStatus: "PENDING", version: 1, documentType: null });
  expect(await asOf(15, old)).toMatchObject({
    verificationStatus: "VERIFIED",
    version: 2,
    documentType: null,
  });
  expect(await asOf(25, old)).toMatchObject({ version: 3, documentType: "VISA", statusSince: time(10) });
  expect(await asOf(35, old)).toMatchObject({
    verificationStatus: "FAILED",
    version: 4,
    documentType: "VISA",
  });
});

test("a record that is older than its events has a state before them, of which nothing is known", async () => {
  const old = "0000000000000002";
  await oldRecord(old, "passport", 9);
  const nothing = {
    verificationStatus: null,
    documentType: null,
    version: null,
    since: null,
    statusSince: null,
  };
  expect(await asOf(-1, old)).toBeNull();
  expect(await asOf(5, old)).toEqual({ kycId: old, isDeleted: false, ...nothing });
  await gateway.db.execute(`update kycs set created_at = '2020-01-01' where id = '${old}'`);
  await writeOld(old, [["updated", "pending", "failed", "verificationStatus"]]);
  expect(await asOf(-1, old)).toEqual({ kycId: old, isDeleted: false, ...nothing });
  expect(await asOf(1, old)).toMatchObject({
    verificationStatus: "FAILED",
    version: null,
    documentType: "PASSPORT",
  });
});
