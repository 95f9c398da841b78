import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { anyPageQuery, expectedPage, maybe } from "../support/paging-model.ts";
import { planOf } from "../support/plans.ts";
import { createRecord } from "../support/records.ts";

interface Event {
  id: string;
  sequence: number;
  at: string;
  tokenId: string;
  action: string;
  kycId: string;
}

const TIMES = [1_700_000_000_000, 1_700_000_000_001, 1_800_000_000_000];

let gateway: TestApp;
let token: string;
/** Every event of the account, newest first, with its cursor. */
let events: (Event & { cursor: string })[];
/** Three records, the last one deleted. */
let ids: string[];

const EVENT =
  "id sequence at tokenId tokenName surface requestId action kycId kycIds changedFields statusBefore statusAfter reason";
const LIST = `query ($first: Int, $after: String, $last: Int, $before: String, $filter: AuditEventFilter) {
  auditEvents(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
    edges { cursor node { ${EVENT} } }
    nodes { sequence }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
}`;

beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  const other = await gateway.token("acme", ["kyc:write"]);
  const foreign = await gateway.token("globex");
  await createRecord(gateway, foreign);
  ids = [];
  for (let turn = 0; turn < 3; turn++) {
    gateway.clock.now = TIMES[turn];
    ids.push(await createRecord(gateway, turn === 0 ? token : other));
  }
  for (let turn = 0; turn < 20; turn++) {
    // The clock goes back and forth: events are in the order of their making all the same.
    gateway.clock.now = TIMES[(turn * 7) % 3];
    const form = { document_number: `N${turn}`, verification_status: turn % 2 ? "failed" : "verified" };
    await gateway.rest(turn % 3 ? token : other, "PUT", `/v1/kyc/${ids[turn % 3]}`, { form });
  }
  gateway.clock.now = undefined;
  await gateway.rest(token, "DELETE", `/v1/kyc/${ids[2]}`, { headers: { "kyc-reason": "asked for" } });
  const { data } = await gateway.graphql(token, LIST, { first: 100 });
  events = data.auditEvents.edges.map(({ cursor, node }: { cursor: string; node: Event }) => ({
    ...node,
    cursor,
  }));
});
afterAll(() => gateway.close());

/** Events newest first by their times: their order in a span of time. */
const byTime = (listed: typeof events) =>
  [...listed].sort((a, b) => Date.parse(b.at) - Date.parse(a.at) || b.sequence - a.sequence);

test("an account's events are listed newest first, and nobody else's", () => {
  expect(events.map(({ action }) => action)).toEqual([
    "DELETED",
    ...Array(20).fill("UPDATED"),
    ...Array(3).fill("CREATED"),
  ]);
  const sequences = events.map(({ sequence }) => sequence);
  expect(sequences).toEqual([...sequences].sort((a, b) => b - a));
  expect(new Set(events.map(({ kycId }) => kycId))).toEqual(new Set(ids));
});

test("an event says who did what to which record, when, through what and why", () => {
  const [deleted, updated] = events;
  const common = {
    ...{
      tokenId: expect.stringMatching(/^tok_/),
      tokenName: "test",
      requestId: expect.stringMatching(/^req_/),
    },
    ...{ id: expect.stringMatching(/^evt_\d+$/), sequence: expect.any(Number) },
    ...{ at: expect.stringMatching(/Z$/), cursor: expect.any(String) },
  };
  expect(deleted).toEqual({
    ...{ ...common, action: "DELETED", surface: "REST", kycId: ids[2], kycIds: [ids[2]], changedFields: [] },
    ...{ statusBefore: expect.stringMatching(/^(VERIFIED|FAILED)$/), statusAfter: null, reason: "asked for" },
  });
  expect(updated).toEqual({
    ...{ ...common, action: "UPDATED", surface: "REST", kycId: ids[1], kycIds: [ids[1]], reason: null },
    changedFields: ["verificationStatus", "documentNumber"],
    ...{ statusBefore: "VERIFIED", statusAfter: "FAILED" },
  });
});

test("an event has one id wherever it is met, and no other event or record has it", async () => {
  const all = events.map(({ id }) => id);
  expect(new Set([...all, ...ids]).size).toBe(events.length + ids.length);
  const { data } = await gateway.graphql(
    token,
    "query ($id: ID!) { kyc(id: $id) { history { nodes { id } } } }",
    {
      id: ids[0],
    },
  );
  const history = data.kyc.history.nodes.map(({ id }: Event) => id);
  expect(history).toEqual(events.filter(({ kycId }) => kycId === ids[0]).map(({ id }) => id));
});

test("a record's history is its events; it is null, with FORBIDDEN, for a token without audit:read", async () => {
  const HISTORY = `query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Kyc {
    id history(first: 3) { nodes { sequence } pageInfo { hasNextPage } totalCount }
  } } }`;
  const sent = vi.spyOn(gateway.db, "send");
  const { data } = await gateway.graphql(token, HISTORY, { ids: ids.slice(0, 2) });
  const texts = sent.mock.calls.map(([text]) => text).filter((text) => text.includes("audit_events"));
  sent.mockRestore();
  const expected = (id: string) => {
    const own = events.filter(({ kycId }) => kycId === id).map(({ sequence }) => ({ sequence }));
    return { nodes: own.slice(0, 3), pageInfo: { hasNextPage: true }, totalCount: own.length };
  };
  expect(data.nodes).toEqual(ids.slice(0, 2).map((id) => ({ id, history: expected(id) })));
  // One for the pages of both records, and a count for each.
  expect(texts).toHaveLength(3);

  const reader = await gateway.token("acme", ["kyc:read"]);
  const refused = await gateway.graphql(reader, HISTORY, { ids: ids.slice(0, 1) });
  expect(refused.data.nodes).toEqual([{ id: ids[0], history: null }]);
  expect(refused.errors?.map(({ extensions }) => extensions.code)).toEqual(["FORBIDDEN"]);
});

test("the trail needs audit:read, and no other scope", async () => {
  const all = await gateway.token("acme", ["kyc:read", "kyc:write", "kyc:delete"]);
  expect((await gateway.graphql(all, LIST)).errors?.[0]?.extensions.code).toBe("FORBIDDEN");
  expect((await gateway.graphql(null, LIST)).errors?.[0]?.extensions.code).toBe("UNAUTHENTICATED");
  const auditor = await gateway.token("acme", ["audit:read"]);
  expect((await gateway.graphql(auditor, LIST)).data.auditEvents.totalCount).toBe(events.length);
});

test("another account's record has no events, and its cursors are of no use", async () => {
  const foreign = await gateway.token("globex");
  const { data } = await gateway.graphql(foreign, LIST, { filter: { kycId: ids[0] } });
  expect(data.auditEvents).toMatchObject({ edges: [], totalCount: 0 });
});

test("every combination of arguments and filters answers as the model does", async () => {
  const filters = fc.record({
    kycId: maybe(fc.constantFrom("first", "gone", "unknown")),
    mine: maybe(fc.boolean()),
    action: maybe(fc.constantFrom("CREATED", "UPDATED", "DELETED", "READ")),
    from: maybe(fc.constantFrom(...TIMES)),
    to: maybe(fc.constantFrom(...TIMES)),
  });
  const recordIds = { first: ids[0], gone: ids[2], unknown: "0000000000000000" };
  const [mine, others] = [
    events[0]?.tokenId,
    events.find(({ tokenId }) => tokenId !== events[0]?.tokenId)?.tokenId,
  ];
  await fc.assert(
    fc.asyncProperty(anyPageQuery(events.length), filters, async (page, filter) => {
      const kycId = filter.kycId && recordIds[filter.kycId];
      const tokenId = filter.mine === undefined ? undefined : filter.mine ? mine : others;
      const at = {
        from: filter.from && new Date(filter.from).toISOString(),
        to: filter.to && new Date(filter.to).toISOString(),
      };
      const isSpan =
        (filter.from !== undefined || filter.to !== undefined) &&
        [kycId, tokenId, filter.action].every((one) => one === undefined);
      const ordered = isSpan ? byTime(events) : events;
      const cursorAt = (index: number | undefined) => (index === undefined ? null : ordered[index]?.cursor);
      const { data, errors } = await gateway.graphql(token, LIST, {
        ...page,
        ...{ after: cursorAt(page.after), before: cursorAt(page.before) },
        filter: { kycId, tokenId, action: filter.action, at },
      });
      expect(errors).toBeUndefined();
      const { edges, nodes, pageInfo, totalCount } = data.auditEvents;
      const found = edges.map(({ node }: { node: Event }) => String(node.sequence));
      expect(nodes.map(({ sequence }: Event) => String(sequence))).toEqual(found);
      const selected = ordered
        .map((event, index) => ({
          ...event,
          id: String(event.sequence),
          index,
          millis: Date.parse(event.at),
        }))
        .filter((event) => kycId === undefined || event.kycId === kycId)
        .filter((event) => tokenId === undefined || event.tokenId === tokenId)
        .filter((event) => filter.action === undefined || event.action === filter.action)
        .filter(
          ({ millis }) => millis >= (filter.from ?? 0) && millis < (filter.to ?? Number.POSITIVE_INFINITY),
        );
      expect({ ids: found, ...pageInfo, totalCount }).toEqual(expectedPage(selected, page));
    }),
    { numRuns: 150 },
  );
});

test("a span of time needs a cursor of an event that there is", async () => {
  const after = Buffer.from("event:999999999").toString("base64url");
  const at = { from: new Date(0).toISOString() };
  const { errors } = await gateway.graphql(token, LIST, { after, filter: { at } });
  expect(errors?.[0]?.extensions).toMatchObject({
    code: "BAD_USER_INPUT",
    fields: [{ path: "after", message: "is not a cursor of this list" }],
  });
});

test("every fault of the arguments is named at once, and none repeats a value", async () => {
  const { errors } = await gateway.graphql(token, LIST, {
    ...{ first: 101, last: 1, after: "SECRET-1" },
    filter: { kycId: "SECRET-2", tokenId: "SECRET 3\u0000" },
  });
  expect(errors?.[0]?.extensions.fields).toEqual([
    { path: "first", message: "must be an integer from 0 to 100" },
    { path: "after", message: "is not a cursor of this list" },
    { path: "filter.kycId", message: "must be the id of a record" },
    { path: "filter.tokenId", message: "must be the id of a token" },
    { path: "last", message: "can't be used together with first" },
  ]);
  expect(JSON.stringify(errors)).not.toContain("SECRET");
});

describe("each page of events is one range of an index", () => {
  beforeAll(async () => {
    await gateway.db.execute(`
      with event as (
        insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
        select 'big' || g % 3, timestamptz '2025-01-01' + g * interval '1 minute', 'tok_' || g % 20, 't', 'rest', 'r',
          (enum_range(null::audit_action))[1 + g % 4], array[lpad((g % 20)::text, 16, '0')], '{}'
        from generate_series(1, 10000) g
        returning account_id, sequence, kyc_ids)
      insert into audit_event_records select account_id, unnest(kyc_ids), sequence from event`);
    await gateway.db.execute("vacuum analyze audit_events");
    await gateway.db.execute("vacuum analyze audit_event_records");
  });

  test.each([
    ["all", {}],
    ["of a record", { kycId: "0000000000000001" }],
    ["of a token", { tokenId: "tok_1" }],
    ["of an action", { action: "DELETED" }],
    ["of a record behind a cursor", { kycId: "0000000000000001" }, { after: "cursor" }],
    ["of a record by a token", { kycId: "0000000000000001", tokenId: "tok_1" }],
    ["of a span of time", { at: { from: "2025-01-01T00:00:00Z", to: "2025-01-06T00:00:00Z" } }],
    ["since a time", { at: { from: "2025-01-02T00:00:00Z" } }],
    ["until a time, behind a cursor", { at: { to: "2025-01-06T00:00:00Z" } }, { after: "cursor" }],
  ])("%s", async (_, filter: Record<string, unknown>, page: { after?: string } = {}) => {
    const reader = await gateway.token("big1", ["audit:read"]);
    const [newest] = (await gateway.graphql(reader, LIST, { first: 1 })).data.auditEvents.edges;
    const after = page.after && newest.cursor;
    const sent = vi.spyOn(gateway.db, "send");
    const { errors } = await gateway.graphql(reader, LIST, { first: 5, after, filter });
    const texts = sent.mock.calls.map(([text]) => text).filter((text) => text.includes("audit_events"));
    sent.mockRestore();
    expect(errors).toBeUndefined();
    for (const text of texts.filter((text) => !text.includes("count(*)"))) {
      const nodes = await planOf(gateway.db, text);
      for (const node of nodes) {
        if (node["Relation Name"] === undefined || node["Node Type"] === "Bitmap Heap Scan") continue;
        expect(node["Node Type"], text).toMatch(/^Index/);
        expect(node["Index Cond"], text).toContain("account_id");
      }
      // The cursor is a bound of the range, so a page far down the span costs what the first one does.
      if (filter.at && page.after && text.includes("order by"))
        expect(JSON.stringify(nodes), text).toMatch(/"Index Cond":"[^"]*ROW\(at, sequence\)/);
      // Of two conditions either index may be the smaller one.
      if (Object.keys(filter).length < 2) {
        expect(
          nodes.map((node) => node["Node Type"]),
          text,
        ).not.toContain("Sort");
      }
    }
  });
});
