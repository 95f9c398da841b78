import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { byCommand, recordActForAll } from "../../src/administration/record-act.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { sealAll } from "../support/ledger.ts";
import { planOf } from "../support/plans.ts";
import { createRecord } from "../support/records.ts";

interface Event {
  sequence: number;
  position: number | null;
  action: string;
  kycId: string | null;
  kycIds: string[];
  statusAfter: string | null;
  tokenId: string;
  actor: string;
}

let gateway: TestApp;
let token: string;
/** Every event of the account, newest first. */
let events: Event[];
let gone: string;
const LIST = `query ($first: Int, $after: String, $last: Int, $before: String, $filter: AuditEventFilter) {
  auditEvents(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
    nodes { sequence position action kycId kycIds statusAfter tokenId actor } pageInfo { hasNextPage endCursor } totalCount
  } }`;
const list = async (variables: Record<string, unknown>, by = token) => {
  const { data, errors } = await gateway.graphql(by, LIST, { first: 100, ...variables });
  expect(errors).toBeUndefined();
  return data.auditEvents as {
    nodes: Event[];
    pageInfo: { hasNextPage: boolean; endCursor: string };
    totalCount: number;
  };
};
const update = (by: string, id: string, status: string) =>
  gateway.rest(by, "PUT", `/v1/kyc/${id}`, { form: { verification_status: status } });

beforeAll(async () => {
  gateway = await createTestApp({ AUDIT_READS: "true" });
  token = await gateway.token("acme");
  const other = await gateway.token("acme", ["kyc:read", "kyc:write"]);
  await createRecord(gateway, await gateway.token("globex"), { customerId: "anneliese" });
  const ids: string[] = [];
  for (const customerId of ["anneliese", "bob", "anneliese"])
    ids.push(await createRecord(gateway, token, { customerId }));
  for (let turn = 0; turn < 12; turn++) {
    await update(
      turn % 2 ? token : other,
      ids[turn % 3] as string,
      ["verified", "failed", "in_review"][turn % 4] ?? "pending",
    );
  }
  gone = ids[2] as string;
  await gateway.rest(token, "GET", "/v1/kyc");
  await gateway.rest(token, "DELETE", `/v1/kyc/${gone}`);
  await recordActForAll(gateway.db, byCommand(), { action: "backup_taken", subject: null, at: Date.now() });
  events = (await list({})).nodes;
});
afterAll(() => gateway.close());

test("a customer's events are found after the records are gone, those of reads among them, and in this account alone", async () => {
  const [kept] = events
    .filter(({ action }) => action === "CREATED")
    .map(({ kycId }) => kycId)
    .reverse();
  const { nodes, totalCount } = await list({ filter: { customerId: "anneliese" } });
  const isOfAnn = ({ kycIds }: Event) => kycIds.includes(String(kept)) || kycIds.includes(gone);
  expect(nodes).toEqual(events.filter(isOfAnn));
  expect(totalCount).toBe(nodes.length);
  expect(nodes.map(({ action }) => action)).toEqual(expect.arrayContaining(["DELETED", "READ"]));
  expect((await list({ filter: { customerId: "nobody" } })).nodes).toEqual([]);
  expect((await list({ filter: { customerId: "anneliese", kycId: gone } })).nodes).toEqual(
    events.filter(({ kycIds }) => kycIds.includes(gone)),
  );
  const foreign = await list({ filter: { customerId: "anneliese" } }, await gateway.token("globex"));
  expect(foreign.nodes.map(({ action }) => action)).toEqual(["CREATED"]);
});

test("the id of a customer is nowhere in the trail, and equal ids of two accounts have different digests", async () => {
  const rows = await gateway.db.execute<{ digests: number; pairs: number }>(
    `select count(distinct customer_digest)::int as digests, count(distinct (account_id, customer_digest))::int as pairs
     from audit_event_customers`,
  );
  expect(rows).toEqual([{ digests: 3, pairs: 3 }]);
  const [{ all } = { all: "" }] = await gateway.db.execute<{ all: string }>(
    `select string_agg(event::text, '') || (select string_agg(entry::text, '') from audit_event_customers entry) as all
     from audit_events event`,
  );
  expect(all).not.toContain("anneliese");
});

test.each([
  ["statusAfter", { statusAfter: "VERIFIED" }, (event: Event) => event.statusAfter === "VERIFIED"],
  [
    "actionIn",
    { actionIn: ["DELETED", "CREATED", "BACKUP_TAKEN", "CREATED"] },
    ({ action }: Event) => /^(DEL|CRE|BACK)/.test(action),
  ],
  [
    "actionIn with action",
    { actionIn: ["DELETED", "CREATED"], action: "DELETED" },
    ({ action }: Event) => action === "DELETED",
  ],
  ["an empty actionIn", { actionIn: [] }, () => false],
  ["action of records", { action: "UPDATED" }, ({ action }: Event) => action === "UPDATED"],
  ["action of administration", { action: "BACKUP_TAKEN" }, ({ action }: Event) => action === "BACKUP_TAKEN"],
  ["actor, a token's name", { actor: "test" }, ({ actor }: Event) => actor === "test"],
  ["actor, the CLI", { actor: "cli" }, ({ actor }: Event) => actor === "cli"],
  [
    "several",
    { actor: "test", actionIn: ["CREATED", "UPDATED"], statusAfter: "PENDING" },
    (event: Event) => event.statusAfter === "PENDING",
  ],
])(
  "the filter %s finds its events, also page by page in both directions, and counts them",
  async (_, filter, matches) => {
    const expected = events.filter(matches);
    const all = await list({ filter });
    expect(all.nodes).toEqual(expected);
    expect(all.totalCount).toBe(expected.length);
    const found: Event[] = [];
    for (let after: string | null = null; found.length < 50; ) {
      const { nodes, pageInfo } = await list({ filter, first: 2, after });
      found.push(...nodes);
      if (!pageInfo.hasNextPage) break;
      after = pageInfo.endCursor;
    }
    expect(found).toEqual(expected);
    expect((await list({ filter, first: null, last: 3 })).nodes).toEqual(expected.slice(-3));
  },
);

test("an actor may be the id of a token, and someone who signed in is found by name", async () => {
  const tokenId = events.at(-1)?.tokenId;
  expect((await list({ filter: { actor: tokenId } })).nodes).toEqual(
    events.filter((event) => event.tokenId === tokenId),
  );
  await gateway.db.execute(`insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids,
    changed_fields, actor_name) values ('signed', now(), 'jwt_1', 'sign-in', 'rest', 'r', 'updated', '{}', '{}', 'Ada')`);
  const reader = await gateway.token("signed");
  const { nodes } = await list({ filter: { actor: "Ada" } }, reader);
  expect(nodes).toMatchObject([{ actor: "Ada", tokenId: "jwt_1" }]);
});

test("an event has no position until it is sealed, and then that of its place in the account's log", async () => {
  expect(events.every(({ position }) => position === null)).toBe(true);
  await sealAll(gateway.db);
  const { nodes } = await list({});
  expect(nodes.map(({ position }) => position)).toEqual(events.map((_, index) => events.length - 1 - index));
});

test("faults of the filters name the field, and repeat no value", async () => {
  const { errors } = await gateway.graphql(token, LIST, {
    filter: { customerId: "", actor: "SECRET\u0000" },
  });
  const message = "must have 1 to 500 printable characters";
  expect(errors?.[0]?.extensions.fields).toEqual([
    { path: "filter.customerId", message },
    { path: "filter.actor", message },
  ]);
});

test("the id of an event is a cursor, and that of another account's event is none", async () => {
  const [, second] = events;
  const after = `evt_${second?.sequence}`;
  expect((await list({ after })).nodes.map(({ sequence }) => sequence)).toEqual(
    events.slice(2).map(({ sequence }) => sequence),
  );
  const { errors } = await gateway.graphql(await gateway.token("globex"), LIST, { after });
  expect(errors?.[0]?.extensions.fields).toEqual([
    { path: "after", message: "is not a cursor of this list" },
  ]);
});

describe("each page is read from the ranges of indexes, without a sort", () => {
  beforeAll(async () => {
    const digest = gateway.db.execute.bind(gateway.db);
    await digest(`
      with event as (
        insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, other_action, kyc_ids,
          changed_fields, status_after, actor_name)
        select 'big' || g % 3, timestamptz '2025-01-01' + g * interval '1 minute', 'jwt_' || g % 20, 't', 'rest', 'r',
          (enum_range(null::audit_action))[1 + g % 4], case when g % 40 = 1 then 'backup_taken' end,
          array[lpad((g % 20)::text, 16, '0')], '{}', (enum_range(null::verification_status))[1 + g % 5], 'name ' || g % 20
        from generate_series(1, 10000) g returning account_id, sequence, kyc_ids)
      insert into audit_event_customers select account_id, decode(md5(kyc_ids[1]), 'hex'), sequence from event`);
    for (const table of ["audit_events", "audit_event_customers"]) await digest(`vacuum analyze ${table}`);
  });
  test.each([
    ["of a customer", { customerId: "someone" }],
    ["with a status", { statusAfter: "VERIFIED" }],
    ["of several actions", { actionIn: ["DELETED", "BACKUP_TAKEN"] }],
    ["of an actor", { actor: "name 3" }],
    ["of a customer, behind a cursor", { customerId: "someone" }, true],
    ["with a status, behind a cursor", { statusAfter: "VERIFIED" }, true],
  ])("%s", async (_, filter, behind = false) => {
    const reader = await gateway.token("big1", ["audit:read"]);
    const after = behind ? Buffer.from("event:5000").toString("base64url") : undefined;
    const sent = vi.spyOn(gateway.db, "send");
    await list({ first: 5, after, filter }, reader);
    const texts = sent.mock.calls
      .map(([text]) => text)
      .filter((text) => /order by/.test(text) && text.includes("audit_events"));
    sent.mockRestore();
    expect(texts.length).toBeGreaterThan(0);
    for (const text of texts) {
      const nodes = await planOf(gateway.db, text);
      expect(
        nodes.map((node) => node["Node Type"]),
        text,
      ).not.toContain("Sort");
      for (const node of nodes.filter((each) => each["Relation Name"] !== undefined)) {
        expect(node["Node Type"], text).toMatch(/^Index/);
        expect(node["Index Cond"], text).toContain("account_id");
      }
    }
  });
});
