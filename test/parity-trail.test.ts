import { afterAll, beforeAll, expect, test } from "vitest";
import type { Scope } from "../src/auth/scopes.ts";
import { createTestApp, type TestApp } from "./support/app.ts";
import { sealAll } from "./support/ledger.ts";
import { createRecord } from "./support/records.ts";

/** The first event's time; others are so many seconds later. */
const START = Date.parse("2025-03-01T00:00:00Z");
const at = (seconds: number) => START + 1000 * seconds;

let gateway: TestApp;
let token: string;
/** What scenarios name: records, events and tokens, of this account and of another one. */
let named: Record<string, string>;

beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  const clerk = await gateway.token("acme", ["kyc:read", "kyc:write"]);
  const globex = await gateway.token("globex");
  const foreign = await createRecord(gateway, globex, { customerId: "another" });
  gateway.clock.now = at(0);
  const own = await createRecord(gateway, clerk, { customerId: "stays" });
  // Later than what follows: in a span of time, events are in another order.
  gateway.clock.now = at(10);
  const gone = await createRecord(gateway, token, { customerId: "left" });
  for (const turn of [0, 1, 2, 3]) {
    gateway.clock.now = at(turn + 1);
    const form = { document_number: `N-${turn}`, verification_status: turn % 2 ? "failed" : "verified" };
    await gateway.rest(turn % 2 ? token : clerk, "PUT", `/v1/kyc/${own}`, { form });
  }
  gateway.clock.now = undefined;
  await gateway.rest(token, "DELETE", `/v1/kyc/${gone}`, { headers: { "kyc-reason": "asked for" } });
  await sealAll(gateway.db);
  const idsOf = async (by: string) =>
    (await gateway.rest(by, "GET", "/v1/audit_events?limit=100")).json().data as {
      id: string;
      token_id: string;
    }[];
  const [events, others] = [await idsOf(token), await idsOf(globex)];
  named = {
    ...{ own, gone, foreign, unknown: "0000000000000000", misshapen: "x" },
    ...{ middle: events[3]?.id ?? "", foreignEvent: others[0]?.id ?? "", noEvent: "evt_999999999" },
    ...{ token: events[0]?.token_id ?? "" },
  };
});
afterAll(() => gateway.close());

interface Scenario {
  name: string;
  /** By GraphQL's names. Texts that `named` has stand for what it has. */
  filter?: Record<string, unknown>;
  page?: { first?: number; last?: number; after?: string; before?: string };
  /** The history of this record, in place of the account's trail. */
  historyOf?: string;
  /** Null: no token. */
  scopes?: Scope[] | null;
  /** How many events the page has, or the code of the failure. */
  outcome: number | string;
}

const scenarios: Scenario[] = [
  { name: "everything", outcome: 7 },
  { name: "the first page", page: { first: 2 }, outcome: 2 },
  { name: "behind an event", page: { first: 2, after: "middle" }, outcome: 2 },
  { name: "before an event", page: { last: 2, before: "middle" }, outcome: 2 },
  { name: "behind another account's event", page: { first: 2, after: "foreignEvent" }, outcome: "after" },
  { name: "before an event that is not there", page: { last: 2, before: "noEvent" }, outcome: "before" },
  { name: "behind what is no event", page: { first: 2, after: "misshapen" }, outcome: "after" },
  { name: "a page of none", page: { first: 101 }, outcome: "first" },
  { name: "of a record", filter: { kycId: "own" }, outcome: 5 },
  { name: "of a deleted record", filter: { kycId: "gone" }, outcome: 2 },
  { name: "of another account's record", filter: { kycId: "foreign" }, outcome: 0 },
  { name: "of what is no record", filter: { kycId: "misshapen" }, outcome: "filter.kycId" },
  { name: "of a customer", filter: { customerId: "stays" }, outcome: 5 },
  { name: "of a deleted customer", filter: { customerId: "left" }, outcome: 2 },
  { name: "of another account's customer", filter: { customerId: "another" }, outcome: 0 },
  { name: "of no customer", filter: { customerId: "" }, outcome: "filter.customerId" },
  { name: "of a token", filter: { tokenId: "token" }, outcome: 4 },
  { name: "of an actor", filter: { actor: "test" }, outcome: 7 },
  { name: "of some actions", filter: { actionIn: ["DELETED", "CREATED"] }, outcome: 3 },
  { name: "of an unknown action", filter: { actionIn: ["EATEN"] }, outcome: "filter.actionIn" },
  { name: "with a status", filter: { statusAfter: "FAILED" }, outcome: 2 },
  { name: "of a span", filter: { at: { from: at(0), to: at(4) } }, outcome: 4 },
  {
    name: "of a span, paged",
    filter: { at: { from: at(0) } },
    page: { first: 3, after: "middle" },
    outcome: 2,
  },
  {
    name: "of a span, back",
    filter: { at: { from: at(0) } },
    page: { last: 5, before: "middle" },
    outcome: 4,
  },
  { name: "of an empty span", filter: { at: { from: at(5), to: at(6) } }, outcome: 0 },
  { name: "of a span and a token", filter: { at: { to: at(4) }, tokenId: "token" }, outcome: 1 },
  { name: "a history", historyOf: "own", outcome: 5 },
  { name: "a page of a history", historyOf: "own", page: { first: 3 }, outcome: 3 },
  { name: "a history behind an event", historyOf: "own", page: { first: 3, after: "middle" }, outcome: 2 },
  { name: "no token", scopes: null, outcome: "UNAUTHENTICATED" },
  { name: "without audit:read", scopes: ["kyc:read", "kyc:pii"], outcome: "FORBIDDEN" },
  { name: "with audit:read alone", scopes: ["audit:read"], outcome: 7 },
];

const FIELDS =
  "id position at actor tokenId surface requestId action subject kycIds changedFields statusBefore statusAfter documentTypeAfter versionAfter reason";
const PAGED = `nodes { ${FIELDS} } pageInfo { hasNextPage hasPreviousPage }`;
const PAGE = "$first: Int, $last: Int, $after: String, $before: String";
const GIVEN = "first: $first, last: $last, after: $after, before: $before";
const TRAIL = `query (${PAGE}, $filter: AuditEventFilter) { auditEvents(${GIVEN}, filter: $filter) { ${PAGED} } }`;
const HISTORY = `query (${PAGE}, $id: ID!) { kyc(id: $id) { history(${GIVEN}) { ${PAGED} } } }`;

const nameOf = (value: unknown) => (typeof value === "string" ? (named[value] ?? value) : value);
const resolved = (values: object = {}) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, nameOf(value)]));
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

interface Found {
  outcome: number | string;
  more?: boolean;
  events?: unknown[];
}

async function throughGraphql({ filter, page = { first: 100 }, historyOf }: Scenario, by: string | null) {
  const { at, ...rest } = resolved(filter);
  const span =
    at && Object.fromEntries(Object.entries(at).map(([end, time]) => [end, new Date(time).toISOString()]));
  const variables = {
    ...resolved(page),
    ...(historyOf ? { id: nameOf(historyOf) } : { filter: { ...rest, at: span } }),
  };
  const { data, errors } = await gateway.graphql(by, historyOf ? HISTORY : TRAIL, variables);
  if (errors) {
    const { code, fields } = errors[0]?.extensions ?? {};
    return { outcome: fields?.[0]?.path.replace(/\.\d+$/, "") ?? code } as Found;
  }
  const { nodes, pageInfo } = historyOf ? data.kyc.history : data.auditEvents;
  const lower = (word: unknown) => (typeof word === "string" ? word.toLowerCase() : word);
  const events = nodes.map((node: Record<string, unknown>) => {
    const words = ["surface", "action", "statusBefore", "statusAfter", "documentTypeAfter"];
    const entries = Object.entries(node).map(([name, value]) => [
      snake(name),
      words.includes(name)
        ? lower(value)
        : name === "at"
          ? Math.floor(Date.parse(String(value)) / 1000)
          : value,
    ]);
    const event = Object.fromEntries(entries);
    return { ...event, changed_fields: event.changed_fields.map(snake) };
  });
  const more = page.last === undefined ? pageInfo.hasNextPage : pageInfo.hasPreviousPage;
  return { outcome: nodes.length, more, events } as Found;
}

async function throughRest({ filter, page = { first: 100 }, historyOf }: Scenario, by: string | null) {
  const { at, ...rest } = resolved(filter) as Record<string, unknown> & {
    at?: { from?: number; to?: number };
  };
  const { first, last, after, before } = resolved(page);
  const wire: Record<string, unknown> = {
    ...{
      limit: first ?? last,
      starting_after: after,
      ending_before: before,
      "at[gte]": at?.from && at.from / 1000,
      "at[lt]": at?.to && at.to / 1000,
    },
    ...Object.fromEntries(
      Object.entries(rest).map(([name, value]) => [name === "actionIn" ? "action" : snake(name), value]),
    ),
  };
  const given = Object.entries(wire).filter(([, value]) => value !== undefined);
  const query = new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)]));
  const path = historyOf ? `/v1/kyc/${nameOf(historyOf)}/history` : "/v1/audit_events";
  const answer = await gateway.rest(by, "GET", `${path}?${query}`);
  const body = answer.json();
  if (answer.statusCode === 200)
    return { outcome: body.data.length, more: body.has_more, events: body.data } as Found;
  const { type, param } = body.error;
  const fields: Record<string, string> = {
    ...{ limit: "first", starting_after: "after", ending_before: "before" },
    ...{ kyc_id: "filter.kycId", customer_id: "filter.customerId", action: "filter.actionIn" },
  };
  const code = { authentication_error: "UNAUTHENTICATED", permission_error: "FORBIDDEN" }[type as string];
  return { outcome: code ?? fields[param] ?? param } as Found;
}

test.each(scenarios)("the trail is the same in GraphQL and REST: $name", async (scenario) => {
  const { scopes, outcome } = scenario;
  const by = scopes === undefined ? token : scopes && (await gateway.token("acme", scopes));
  const [graphql, rest] = [await throughGraphql(scenario, by), await throughRest(scenario, by)];
  expect([graphql.outcome, rest.outcome]).toEqual([outcome, outcome]);
  expect(rest.more).toEqual(graphql.more);
  const expected = graphql.events?.map((event) => expect.objectContaining(event as object));
  expect(rest.events).toEqual(expected);
});
