import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { holdJob, releaseJob } from "../../src/db/job-lease.ts";
import {
  type ImportContext,
  judgeImport,
  type PreparedKyc,
  prepareImport,
} from "../../src/kyc/import-kycs.ts";
import { findGroups } from "../../src/kyc/lifecycle/expiry-store.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { expireAll } from "../support/expiry.ts";
import { importKycs } from "../support/imported.ts";
import { sealAll } from "../support/ledger.ts";
import { createRecord } from "../support/records.ts";

let gateway: TestApp;
let replica: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
  replica = await createTestApp({}, gateway);
});
afterAll(async () => {
  await replica.close();
  await gateway.close();
});

const DAY = 86_400_000;
const inDays = (days: number) => new Date(Math.round(Date.now() + days * DAY)).toISOString();
const verified = (token: string, days: number) =>
  createRecord(gateway, token, { verificationStatus: "VERIFIED", expiresAt: inDays(days) });

const read = async (token: string, id: string) =>
  (
    await gateway.graphql(
      token,
      `{ kyc(id: "${id}") { verificationStatus version statusSince updatedAt expiresAt documentNumber } }`,
    )
  ).data.kyc;
const update = (token: string, id: string, changes: Record<string, unknown>) =>
  gateway.graphql(
    token,
    "mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { version } } }",
    { input: { id, ...changes } },
  );
const HISTORY = `query ($id: ID!) { auditEvents(filter: { kycId: $id }, first: 50) { nodes {
  action surface tokenId subject kycId changedFields statusBefore statusAfter versionAfter documentTypeAfter } } }`;
async function eventsOf(token: string, id: string) {
  const { data, errors } = await gateway.graphql(token, HISTORY, { id });
  expect(errors).toBeUndefined();
  return data.auditEvents.nodes.reverse();
}
const noticesOf = async (token: string, id: string) =>
  (await eventsOf(token, id))
    .filter(({ action }: { action: string }) => action === "EXPIRING")
    .map(({ subject }: { subject: string }) => subject);

test("a verified record expires after its time, as a change by the gateway, and others stay as they are", async () => {
  const token = await gateway.token("expires");
  const due = await verified(token, -1);
  const failed = await createRecord(gateway, token, { verificationStatus: "FAILED", expiresAt: inDays(-1) });
  const later = await verified(token, 100);
  const never = await createRecord(gateway, token, { verificationStatus: "VERIFIED" });
  expect(await expireAll(gateway)).toMatchObject({ expired: 1, notices: 0 });
  const record = await read(token, due);
  expect(record).toMatchObject({ verificationStatus: "EXPIRED", version: 2, documentNumber: "X1234567" });
  expect(record.statusSince).toBe(record.updatedAt);
  expect(Math.abs(Date.parse(record.updatedAt) - Date.now())).toBeLessThan(60_000);
  expect((await eventsOf(token, due)).at(-1)).toEqual({
    ...{ action: "UPDATED", surface: "GATEWAY", tokenId: "gateway", subject: null, kycId: due },
    ...{ changedFields: ["verificationStatus"], statusBefore: "VERIFIED", statusAfter: "EXPIRED" },
    ...{ versionAfter: 2, documentTypeAfter: "PASSPORT" },
  });
  for (const id of [failed, later, never]) expect((await read(token, id)).version).toBe(1);
  expect(await expireAll(gateway)).toMatchObject({ expired: 0, notices: 0 });
});

test("each notice is sent once, changes nothing of the record, and is in the feed and the trail", async () => {
  const token = await gateway.token("notices");
  const far = await verified(token, 20);
  expect(await expireAll(gateway)).toMatchObject({ expired: 0, notices: 1 });
  expect(await expireAll(gateway)).toMatchObject({ expired: 0, notices: 0 });
  expect((await eventsOf(token, far)).at(-1)).toEqual({
    ...{ action: "EXPIRING", surface: "GATEWAY", tokenId: "gateway", subject: "30d", kycId: far },
    ...{ changedFields: [], statusBefore: "VERIFIED", statusAfter: "VERIFIED" },
    ...{ versionAfter: 1, documentTypeAfter: null },
  });
  expect((await read(token, far)).version).toBe(1);
  await sealAll(gateway.db);
  const feed = await gateway.rest(token, "GET", "/v1/events");
  expect(feed.json().data.map(({ type }: { type: string }) => type)).toEqual(["kyc.created", "kyc.expiring"]);
  const { data } = await gateway.graphql(
    token,
    `{ auditEvents(filter: { action: EXPIRING }) { totalCount }
       updates: auditEvents(filter: { action: UPDATED }) { totalCount }
       kycAsOf(id: "${far}", at: "${inDays(0)}") { verificationStatus version } }`,
  );
  expect(data).toMatchObject({ auditEvents: { totalCount: 1 }, updates: { totalCount: 0 } });
  expect(data.kycAsOf).toEqual({ verificationStatus: "VERIFIED", version: 1 });
});

test("if several notices are due, only the one closest to the expiry is sent; after the expiry, none", async () => {
  const token = await gateway.token("late");
  const near = await verified(token, 3);
  const over = await verified(token, -3);
  await expireAll(gateway);
  expect(await noticesOf(token, near)).toEqual(["7d"]);
  expect(await noticesOf(token, over)).toEqual([]);
});

test("another time of expiry has notices of its own, and an earlier one that comes back has none again", async () => {
  const token = await gateway.token("moved");
  const id = await verified(token, 20);
  await expireAll(gateway);
  const { expiresAt } = await read(token, id);
  await update(token, id, { expiresAt: inDays(5) });
  await expireAll(gateway);
  await update(token, id, { expiresAt });
  await expireAll(gateway);
  await update(token, id, { documentType: "VISA" });
  await update(token, id, { verificationStatus: "FAILED" });
  await update(token, id, { verificationStatus: "VERIFIED" });
  expect(await expireAll(gateway)).toMatchObject({ notices: 0 });
  expect(await noticesOf(token, id)).toEqual(["30d", "7d"]);
  await update(token, id, { expiresAt: inDays(25) });
  await expireAll(gateway);
  expect(await noticesOf(token, id)).toEqual(["30d", "7d", "30d"]);
});

test("a changed setting holds for notices that follow, and without notices records expire all the same", async () => {
  const token = await gateway.token("settings");
  const id = await verified(token, 20);
  const due = await verified(token, -1);
  expect(await expireAll(gateway, { notices: [] })).toMatchObject({ expired: 1, notices: 0 });
  await expireAll(gateway, { notices: [40 * 86_400] });
  await expireAll(gateway, { notices: [40 * 86_400, 21 * 86_400, 3600] });
  await expireAll(gateway, { notices: [50 * 86_400, 40 * 86_400, 30 * 86_400] });
  expect(await noticesOf(token, id)).toEqual(["40d", "21d"]);
  expect((await read(token, due)).verificationStatus).toBe("EXPIRED");
});

test("a change at the same time is never overwritten, and a locked record holds nothing up", async () => {
  const token = await gateway.token("concurrent");
  const [kept, rejected, locked, other] = await Promise.all(
    [-1, -1, -1, -1].map((days) => verified(token, days)),
  );
  let isLocked = () => {};
  const lockTaken = new Promise<void>((resolve) => {
    isLocked = resolve;
  });
  let release = () => {};
  const held = gateway.db.transaction(async (tx) => {
    await tx.execute("select from kycs where account_id = 'concurrent' and id = any($1) for update", [
      [kept, rejected, locked],
    ]);
    isLocked();
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    await tx.execute("update kycs set expires_at = now() + interval '1 year' where id = $1", [kept]);
    await tx.execute("update kycs set verification_status = 'failed' where id = $1", [rejected]);
  }, Number.POSITIVE_INFINITY);
  await lockTaken;
  const run = expireAll(replica);
  await expect.poll(async () => (await read(token, other as string)).verificationStatus).toBe("EXPIRED");
  release();
  await held;
  await run;
  expect((await read(token, kept as string)).verificationStatus).toBe("VERIFIED");
  expect((await read(token, rejected as string)).verificationStatus).toBe("FAILED");
  expect((await read(token, locked as string)).verificationStatus).toBe("EXPIRED");
  expect(await eventsOf(token, locked as string)).toHaveLength(2);
});

test("many records of several accounts expire in small batches, each once, on two replicas that are started together", async () => {
  const records = Array.from({ length: 450 }, (_, index) => ({
    ...{ id: `MANY${String(index).padStart(12, "0")}`, customerId: "c", documentNumber: `N-${index}` },
    ...({ verificationStatus: "verified", documentType: "visa" } as const),
    expiresAt: Date.now() - index * 60_000,
  }));
  const imported: { ctx: ImportContext; prepared: PreparedKyc[] }[] = [];
  for (const accountId of ["many-1", "many-2"]) {
    const ctx = { ...gateway, accountId, requestId: "cmd_1", idSecret: Buffer.alloc(32) };
    const prepared = records.map((record) => prepareImport(ctx, record, Date.now()));
    await gateway.db.transaction((tx) => importKycs(tx, ctx, prepared));
    imported.push({ ctx: { ...ctx, requestId: "cmd_2" }, prepared });
  }
  const runs = await Promise.all([expireAll(gateway), expireAll(replica)]);
  expect(runs.map(({ expired }) => expired).reduce((a, b) => a + b)).toBe(900);
  expect(Math.max(...runs.map(({ largest }) => largest))).toBe(100);
  const [counts] = await gateway.db.execute<{ records: number; events: number }>(
    `select (select count(*)::int from kycs where id like 'MANY%' and verification_status = 'expired' and version = 2) as records,
       (select count(*)::int from audit_event_records where kyc_id like 'MANY%') as events`,
  );
  expect(counts).toEqual({ records: 900, events: 1800 });
  // Another import of the same file finds them unchanged, except one with another time of expiry.
  const [{ ctx, prepared }] = imported as [(typeof imported)[0]];
  const other = prepareImport(ctx, { ...(records[0] as (typeof records)[0]), expiresAt: 1 }, Date.now());
  const outcomes = await judgeImport(gateway.db, ctx, [other, ...prepared.slice(1)]);
  expect(outcomes).toEqual(["different", ...Array(449).fill("unchanged")]);
});

test("a record whose number can't be decrypted stays as it is and holds no others up", async () => {
  const token = await gateway.token("unreadable");
  const [broken, other] = [await verified(token, -2), await verified(token, -1)];
  await gateway.db.execute(
    "update kycs set sealed_number = 'lost.AAAA' where account_id = 'unreadable' and id = $1",
    [broken],
  );
  expect(await expireAll(gateway)).toMatchObject({ expired: 1, unreadable: [broken] });
  expect((await read(token, other)).verificationStatus).toBe("EXPIRED");
  await update(token, broken, { documentNumber: "NEW-1234" });
  expect(await expireAll(gateway)).toMatchObject({ expired: 1, unreadable: [] });
});

test("while one replica has the job, others wait, and after its death they take over", async () => {
  const token = await gateway.token("leased");
  const id = await verified(token, -1);
  const lease = { job: "expiry", owner: "dead", leaseMs: 1500 };
  expect(await holdJob(gateway.db, lease)).toBe(true);
  expect(await holdJob(replica.db, { ...lease, owner: "other" })).toBe(false);
  const run = expireAll(replica);
  await wait(500);
  expect((await read(token, id)).verificationStatus).toBe("VERIFIED");
  expect(await run).toMatchObject({ expired: 1 });
  await releaseJob(gateway.db, lease);
});

test("without a record that expires, a look is one statement", async () => {
  await gateway.db.execute("update kycs set expires_at = null");
  let statements = 0;
  const counting = {
    ...gateway.db,
    send: (...args: Parameters<typeof gateway.db.send>) => {
      statements += 1;
      return gateway.db.send(...args);
    },
  };
  const groups = [];
  for await (const group of findGroups(counting)) groups.push(group);
  expect([groups, statements]).toEqual([[], 1]);
});
