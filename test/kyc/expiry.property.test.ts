import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { expireAll } from "../support/expiry.ts";
import { createRecord } from "../support/records.ts";

const DAY = 86_400_000;
const START = Date.parse("2030-01-01T00:00:00Z");
const NOTICE_DAYS = [30, 7];

let first: TestApp;
let gateway: TestApp;
let replica: TestApp;
beforeAll(async () => {
  first = await createTestApp();
  // The job takes the time of the database: from now on, that is the one in this table.
  await first.db.execute(`
    create schema moved;
    create table moved.clock (now timestamptz not null);
    insert into moved.clock values ('2030-01-01T00:00:00Z');
    create function moved.now() returns timestamptz language sql stable as 'select now from moved.clock';
    do $$ begin
      execute format('alter database %I set search_path = moved, pg_catalog, public', current_database());
    end $$`);
  gateway = await createTestApp({}, first);
  replica = await createTestApp({}, first);
});
afterAll(async () => {
  await replica.close();
  await gateway.close();
  await first.close();
});

/** What the rules of `docs/data.md` make of one record. */
interface Model {
  status: string;
  expiresDay: number | null;
  version: number;
  /** The last notice for each time of expiry: days before it. */
  sent: Map<number, number>;
  events: string[];
}

function run(model: Model, today: number): void {
  if (model.status !== "VERIFIED" || model.expiresDay === null) return;
  if (model.expiresDay <= today) {
    model.status = "EXPIRED";
    model.version += 1;
    model.events.push("EXPIRED");
    return;
  }
  const { expiresDay } = model;
  const notice = NOTICE_DAYS.findLast((days) => expiresDay <= today + days);
  if (notice === undefined || (model.sent.get(expiresDay) ?? Number.POSITIVE_INFINITY) <= notice) return;
  model.sent.set(expiresDay, notice);
  model.events.push(`${notice}d`);
}

const STATUSES = ["VERIFIED", "VERIFIED", "FAILED", "EXPIRED"];
const day = fc.constantFrom(null, 0, 6, 20, 29, 35, 60);
const step = fc.oneof(
  fc.record({ kind: fc.constant("update" as const), status: fc.constantFrom(...STATUSES), day }),
  fc.record({ kind: fc.constant("wait" as const), days: fc.constantFrom(0, 1, 5, 23, 24, 40) }),
);

const at = (days: number) => new Date(START + days * DAY).toISOString();
const UPDATE = "mutation ($i: UpdateKycInput!) { updateKyc(input: $i) { kyc { version } } }";
const READ = `query ($id: ID!) {
  kyc(id: $id) { verificationStatus version }
  auditEvents(first: 100, filter: { kycId: $id }) { nodes { action subject statusAfter surface } } }`;

async function eventsOf(token: string, id: string) {
  const { data } = await gateway.graphql(token, READ, { id });
  const nodes: { action: string; subject: string | null; statusAfter: string; surface: string }[] =
    data.auditEvents.nodes;
  const own = nodes.filter(({ surface }) => surface === "GATEWAY").reverse();
  return {
    status: data.kyc.verificationStatus,
    version: data.kyc.version,
    events: own.map(({ action, subject, statusAfter }) => (action === "EXPIRING" ? subject : statusAfter)),
  };
}

test("along any timeline, records expire and are announced as the rules say, on two replicas that run at once", async () => {
  const token = await gateway.token("timeline");
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 8 }), day, async (steps, firstDay) => {
      let today = 0;
      const move = (to: number) =>
        gateway.db.execute(`update moved.clock set now = '${at(to)}'::timestamptz`);
      await move(0);
      const id = await createRecord(gateway, token, {
        verificationStatus: "VERIFIED",
        ...(firstDay !== null && { expiresAt: at(firstDay) }),
      });
      const model: Model = {
        status: "VERIFIED",
        expiresDay: firstDay,
        version: 1,
        sent: new Map(),
        events: [],
      };
      for (const one of steps) {
        if (one.kind === "wait") {
          today += one.days;
          await move(today);
          await Promise.all([expireAll(gateway), expireAll(replica)]);
          run(model, today);
          continue;
        }
        const expiresAt = one.day === null ? null : at(one.day);
        await gateway.graphql(token, UPDATE, { i: { id, verificationStatus: one.status, expiresAt } });
        if (one.status !== model.status || one.day !== model.expiresDay) model.version += 1;
        Object.assign(model, { status: one.status, expiresDay: one.day });
      }
      const { status, version, events } = model;
      expect(await eventsOf(token, id)).toEqual({ status, version, events });
    }),
    { numRuns: 25 },
  );
}, 120_000);
