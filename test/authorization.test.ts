import type { InjectOptions } from "fastify";
import { getNamedType, isAbstractType, isInputObjectType, isInterfaceType, isObjectType } from "graphql";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { SCOPES, type Scope } from "../src/auth/scopes.ts";
import { schema } from "../src/graphql/schema.ts";
import { startSealer } from "../src/ledger/seal.ts";
import { createTestApp, type TestApp } from "./support/app.ts";
import { plainDigests } from "./support/ledger.ts";
import { createRecord } from "./support/records.ts";
import { addWebhook } from "./support/webhooks.ts";

/** The scopes that a root field needs, if it needs any, and a query for it with the id of a record. */
interface FieldRule {
  needs?: Scope | Scope[];
  /** The further scope that an answer with the whole record needs. */
  shows?: Scope;
  args: (id: string) => string;
}

const CREATE = '{ customerId: "c", verificationStatus: PENDING, documentType: VISA, documentNumber: "1" }';

/** The id of an erasure of the owner's. */
const erasure = "erasure_0000000000000001";
/** The id of a hold of the owner's. */
const hold = "hold_0000000000000001";
/** Holds that were placed: there may be few on one customer. */
let holds = 0;
/** The id of a webhook of the owner's. */
let webhook = "";
/** An act on it. */
function managing(more = ""): FieldRule {
  return { needs: "webhooks:manage", args: () => `(input: { id: "${webhook}"${more} })` };
}

/** Every root field of the schema. One that has no rule fails the test below. */
const ROOT_FIELDS: Record<string, FieldRule> = {
  "Query.kyc": { needs: "kyc:read", args: (id) => `(id: "${id}")` },
  "Query.kycs": { needs: "kyc:read", args: () => "(first: 2)" },
  "Query.statusCounts": { needs: "kyc:read", args: () => "" },
  "Query.node": { needs: "kyc:read", args: (id) => `(id: "${id}")` },
  "Query.nodes": { needs: "kyc:read", args: (id) => `(ids: ["${id}"])` },
  "Query.auditEvents": { needs: "audit:read", args: () => "(first: 3)" },
  "Query.auditCheckpoint": { needs: "audit:read", args: () => "" },
  "Query.kycAsOf": { needs: "audit:read", args: (id) => `(id: "${id}", at: "2999-01-01T00:00:00Z")` },
  "Query.changeCursor": { needs: "kyc:read", args: () => "" },
  "Mutation.createKyc": { needs: "kyc:write", shows: "kyc:read", args: () => `(input: ${CREATE})` },
  "Mutation.updateKyc": {
    needs: "kyc:write",
    shows: "kyc:read",
    args: (id) => `(input: { id: "${id}", verificationStatus: VERIFIED })`,
  },
  "Mutation.createKycs": { needs: "kyc:write", shows: "kyc:read", args: () => `(input: [${CREATE}])` },
  "Mutation.updateKycs": {
    needs: "kyc:write",
    shows: "kyc:read",
    args: (id) => `(input: [{ id: "${id}", verificationStatus: FAILED }])`,
  },
  "Mutation.deleteKyc": { needs: "kyc:delete", args: (id) => `(input: { id: "${id}" })` },
  "Mutation.eraseCustomer": {
    needs: "kyc:delete",
    args: () => '(input: { customerId: "without records", reason: "r" })',
  },
  "Query.erasure": { needs: "audit:read", args: () => `(id: "${erasure}")` },
  "Query.customerExport": {
    needs: ["kyc:read", "kyc:pii", "audit:read", "kyc:hold"],
    args: () => '(customerId: "customer-1")',
  },
  "Query.holds": { needs: "kyc:hold", args: () => "" },
  "Mutation.placeHold": {
    needs: "kyc:hold",
    args: () => `(input: { customerId: "held ${++holds}", reason: "r" })`,
  },
  "Mutation.releaseHold": { needs: "kyc:hold", args: () => `(input: { id: "${hold}", reason: "r" })` },
  "Query.viewer": { args: () => "" },
  "Query.webhooks": { needs: "webhooks:manage", args: () => "" },
  "Query.webhook": { needs: "webhooks:manage", args: () => `(id: "${webhook}")` },
  "Mutation.createWebhook": {
    needs: "webhooks:manage",
    args: () => '(input: { url: "https://example.com/", eventTypes: [KYC_CREATED] })',
  },
  "Mutation.updateWebhook": managing(", eventTypes: [KYC_DELETED]"),
  "Mutation.rotateWebhookSecret": managing(", overlapHours: 0"),
  "Mutation.enableWebhook": managing(),
  "Mutation.disableWebhook": managing(),
  "Mutation.deleteWebhook": managing(),
  "Mutation.resendWebhookEvents": managing(", from: 0, to: 9"),
};

/** Fields below a record that need a scope more: without it they are null with an error, or show less. */
const GUARDED_FIELDS: Record<string, Scope> = {
  "Kyc.history": "audit:read",
  "Kyc.documentNumber": "kyc:pii",
  "Kyc.holds": "kyc:hold",
  "Kyc.sameDocumentCount": "kyc:pii",
};

/** Every other field of the schema: a token that may read its parent may read it. */
const OPEN_WITH_THEIR_PARENTS = new Set(
  [
    ["Kyc", "id", "customerId", "verificationStatus", "documentType", "createdAt", "updatedAt", "version"],
    ["Kyc", "statusSince", "expiresAt", "relationshipEndedAt", "onHold"],
    ["EraseCustomerPayload", "erasure"],
    ["Erasure", "id", "erasedAt", "recordCount", "position", "proof", "records"],
    ["ErasedRecord", "kycId", "position", "proof"],
    ["CustomerExport", "exportedAt", "position", "checkpoint", "content"],
    ["LegalHoldConnection", "edges", "nodes", "pageInfo", "totalCount"],
    ["LegalHoldEdge", "cursor", "node"],
    ["LegalHold", "id", "kycId", "customerId", "reason", "placedAt", "until", "releasedAt", "releaseReason"],
    ["LegalHold", "isInForce"],
    ["PlaceHoldPayload", "hold"],
    ["ReleaseHoldPayload", "hold"],
    ["StatusCount", "status", "count"],
    ["Node", "id"],
    ["KycConnection", "edges", "nodes", "pageInfo", "totalCount"],
    ["KycEdge", "cursor", "node"],
    ["AuditEventConnection", "edges", "nodes", "pageInfo", "totalCount"],
    ["AuditEventEdge", "cursor", "node"],
    ["AuditEvent", "id", "sequence", "at", "action", "kycId", "kycIds", "changedFields", "reason", "surface"],
    ["AuditEvent", "statusBefore", "statusAfter", "tokenId", "tokenName", "requestId", "position", "actor"],
    ["AuditEvent", "subject", "documentTypeAfter", "versionAfter", "proof"],
    [
      "KycState",
      "kycId",
      "isDeleted",
      "verificationStatus",
      "documentType",
      "version",
      "since",
      "statusSince",
    ],
    ["PageInfo", "hasNextPage", "hasPreviousPage", "startCursor", "endCursor"],
    ["Viewer", "account", "token"],
    ["Token", "name", "scopes", "expiresAt"],
    ["KycChange", "action", "at", "cursor", "kyc", "kycId", "position"],
    ["Webhook", "id", "url", "eventTypes", "publicKey", "previousSecretUntil", "createdAt", "disabledAt"],
    ["Webhook", "disabledReason", "position", "lastSuccessAt", "failingSince", "deliveries"],
    ["WebhookDeliveryConnection", "edges", "nodes", "pageInfo", "totalCount"],
    ["WebhookDeliveryEdge", "cursor", "node"],
    [
      "WebhookDelivery",
      "position",
      "kycId",
      "eventType",
      "state",
      "attempts",
      "nextAttemptAt",
      "lastAttemptAt",
    ],
    ["WebhookDelivery", "lastStatus", "lastResult"],
    ...["Create", "Update", "Enable", "Disable"].map((act) => [`${act}WebhookPayload`, "webhook"]),
    ["CreateWebhookPayload", "secret"],
    ["RotateWebhookSecretPayload", "webhook", "secret"],
    ["DeleteWebhookPayload", "deletedId"],
    ["ResendWebhookEventsPayload", "events"],
    ["CreateKycPayload", "kyc", "kycEdge"],
    ["UpdateKycPayload", "kyc"],
    ["CreateKycsPayload", "results"],
    ["UpdateKycsPayload", "results"],
    ["WriteResult", "kyc", "error"],
    ["WriteError", "code", "message", "fields", "currentVersion"],
    ["WriteErrorField", "path", "message"],
    ["DeleteKycPayload", "deletedId"],
  ].flatMap(([type, ...fields]) => fields.map((field) => `${type}.${field}`)),
);

/** A record of the owner's between two others, its events, and the token that made them. */
interface Found {
  id: string;
  newer: { id: string; cursor: string };
  older: { id: string; cursor: string };
  /** Cursors, the newest first. */
  events: string[];
  tokenId: string;
}

/** Searches by a value: a query that finds the owner's record, and the scopes that it needs. */
interface FindingRule {
  needs: Scope[];
  query: (found: Found) => string;
}

const finding = (query: FindingRule["query"], ...more: Scope[]): FindingRule => ({
  needs: ["kyc:read", ...more],
  query,
});
const tracing = (query: FindingRule["query"]): FindingRule => ({ needs: ["audit:read"], query });
const KYCS = "{ nodes { id customerId documentNumber } totalCount }";
const EVENTS = "{ nodes { kycId tokenName } totalCount }";

/** Every argument and every field of an input by which records or events are found. */
const FINDING_INPUTS: Record<string, FindingRule> = {
  "Query.kyc.id": finding(({ id }) => `kyc(id: "${id}") { id }`),
  "Query.node.id": finding(({ id }) => `node(id: "${id}") { id }`),
  "Query.nodes.ids": finding(({ id }) => `nodes(ids: ["${id}"]) { id }`),
  "Query.kycs.after": finding(({ newer }) => `kycs(first: 3, after: "${newer.cursor}") ${KYCS}`),
  "Query.kycs.before": finding(({ older }) => `kycs(last: 3, before: "${older.cursor}") ${KYCS}`),
  "KycFilter.customerId": finding(() => `kycs(filter: { customerId: "customer-1" }) ${KYCS}`),
  "KycFilter.documentNumber": finding(
    () => `kycs(filter: { documentNumber: "${SECRET}" }) ${KYCS}`,
    "kyc:pii",
  ),
  "KycFilter.documentType": finding(() => `kycs(filter: { documentType: PASSPORT }) ${KYCS}`),
  "KycFilter.verificationStatus": finding(() => `kycs(filter: { verificationStatus: PENDING }) ${KYCS}`),
  "KycFilter.createdAt": finding(
    () => `kycs(filter: { createdAt: { from: "2020-01-01T00:00:00Z" } }) ${KYCS}`,
  ),
  ...Object.fromEntries(
    [
      ["customerIdIn", '["customer-1", "x"]'],
      ["verificationStatusIn", "[PENDING, FAILED]"],
      ["documentTypeIn", "[PASSPORT]"],
      ["updatedAt", '{ from: "2020-01-01T00:00:00Z" }'],
      ["statusSince", '{ to: "2999-01-01T00:00:00Z" }'],
      ["expiresAt", '{ to: "2999-01-01T00:00:00Z" }'],
    ].map(([name, value]) => [
      `KycFilter.${name}`,
      finding(() => `kycs(filter: { ${name}: ${value} }) ${KYCS}`),
    ]),
  ),
  "DateTimeRange.from": finding(
    () => `kycs(filter: { createdAt: { from: "2020-01-01T00:00:00Z" } }) ${KYCS}`,
  ),
  "DateTimeRange.to": finding(() => `kycs(filter: { createdAt: { to: "2999-01-01T00:00:00Z" } }) ${KYCS}`),
  "Query.auditEvents.after": tracing(
    ({ events }) => `auditEvents(first: 3, after: "${events[0]}") ${EVENTS}`,
  ),
  "Query.auditEvents.before": tracing(
    ({ events }) => `auditEvents(last: 3, before: "${events.at(-1)}") ${EVENTS}`,
  ),
  "AuditEventFilter.action": tracing(() => `auditEvents(filter: { action: CREATED }) ${EVENTS}`),
  "AuditEventFilter.at": tracing(
    () => `auditEvents(filter: { at: { from: "2020-01-01T00:00:00Z" } }) ${EVENTS}`,
  ),
  "AuditEventFilter.actionIn": tracing(() => `auditEvents(filter: { actionIn: [CREATED, READ] }) ${EVENTS}`),
  "AuditEventFilter.statusAfter": tracing(() => `auditEvents(filter: { statusAfter: PENDING }) ${EVENTS}`),
  "AuditEventFilter.customerId": tracing(() => `auditEvents(filter: { customerId: "customer-1" }) ${EVENTS}`),
  "AuditEventFilter.actor": tracing(() => `auditEvents(filter: { actor: "test" }) ${EVENTS}`),
  "AuditEventFilter.kycId": tracing(({ id }) => `auditEvents(filter: { kycId: "${id}" }) ${EVENTS}`),
  "AuditEventFilter.tokenId": tracing(
    ({ tokenId }) => `auditEvents(filter: { tokenId: "${tokenId}" }) ${EVENTS}`,
  ),
  "Kyc.history.after": finding(
    ({ id, events }) => `kyc(id: "${id}") { history(first: 3, after: "${events[0]}") ${EVENTS} }`,
    "audit:read",
  ),
  "Kyc.history.before": finding(
    ({ id, events }) => `kyc(id: "${id}") { history(last: 3, before: "${events.at(-1)}") ${EVENTS} }`,
    "audit:read",
  ),
};

/** Every other one: it says how much is wanted, holds others, or belongs to a write, which has a rule as a whole. */
const OTHER_INPUTS = new Set(
  [
    ["Query.kycs", "filter", "first", "last", "orderBy"],
    ["Query.statusCounts", "filter"],
    ["KycOrder", "field", "direction"],
    ["Query.auditEvents", "filter", "first", "last"],
    ["Query.kycAsOf", "at", "id"],
    ["Kyc.history", "first", "last"],
    ["Mutation.createKyc", "input"],
    ["Mutation.updateKyc", "input"],
    ["Mutation.createKycs", "input"],
    ["Mutation.updateKycs", "input"],
    ["Mutation.deleteKyc", "input"],
    ["CreateKycInput", "expiresAt", "relationshipEndedAt"],
    ["UpdateKycInput", "relationshipEndedAt"],
    // test/kyc/erasure.test.ts has the erasures of other accounts.
    ["Mutation.eraseCustomer", "input"],
    ["EraseCustomerInput", "customerId", "reason"],
    ["Query.erasure", "id"],
    // test/kyc/customer-export.test.ts has the customers of other accounts.
    ["Query.customerExport", "customerId"],
    ["Erasure.records", "first", "skip"],
    // test/kyc/holds.test.ts has the holds of other accounts.
    ["Query.holds", "after", "before", "filter", "first", "last"],
    ["LegalHoldFilter", "customerId", "isInForce", "kycId"],
    ["Mutation.placeHold", "input"],
    ["Mutation.releaseHold", "input"],
    ["PlaceHoldInput", "customerId", "kycId", "reason", "until"],
    ["ReleaseHoldInput", "id", "reason"],
    ["CreateKycInput", "customerId", "documentNumber", "documentType", "reason", "verificationStatus"],
    ["UpdateKycInput", "id", "documentNumber", "documentType", "reason", "verificationStatus"],
    ["UpdateKycInput", "expectedVersion", "expiresAt"],
    ["DeleteKycInput", "id", "expectedVersion", "reason"],
    // test/webhooks/manage.test.ts has the deliveries of other accounts.
    ["Query.webhook", "id"],
    ["Webhook.deliveries", "after", "before", "filter", "first", "last"],
    ["WebhookDeliveryFilter", "state"],
    ...["create", "update", "enable", "disable", "delete"].map((act) => [`Mutation.${act}Webhook`, "input"]),
    ["Mutation.rotateWebhookSecret", "input"],
    ["Mutation.resendWebhookEvents", "input"],
    ["CreateWebhookInput", "url", "eventTypes"],
    ["UpdateWebhookInput", "id", "url", "eventTypes"],
    ...["Enable", "Disable", "Delete"].map((act) => [`${act}WebhookInput`, "id"]),
    ["RotateWebhookSecretInput", "id", "overlapHours"],
    ["ResendWebhookEventsInput", "id", "from", "to", "onlyFailed"],
    ["Subscription.kycChanged", "after", "filter"],
    ["KycChangeFilter", "action", "customerId", "documentType", "kycId", "verificationStatus"],
  ].flatMap(([owner, ...names]) => names.map((name) => `${owner}.${name}`)),
);

/** Every parameter of the list that finds something, as a request that finds the owner's record with it. */
const FINDING_PARAMETERS: Record<string, FindingRule> = {
  customer_id: finding(() => "customer_id=customer-1"),
  verification_status: finding(() => "verification_status=pending"),
  document_type: finding(() => "document_type=passport"),
  "created[gte]": finding(() => "created[gte]=1"),
  "created[gt]": finding(() => "created%5Bgt%5D=1"),
  "created[lte]": finding(() => "created[lte]=99999999999"),
  "created[lt]": finding(() => "created[lt]=99999999999"),
  document_number: finding(() => `document_number=${SECRET}`, "kyc:pii"),
  starting_after: finding(({ newer }) => `limit=3&starting_after=${newer.id}`),
  ending_before: finding(({ older }) => `limit=3&ending_before=${older.id}`),
};

/**
 * Who may call a route: tokens with a scope, everyone (`open`), no one (`refused`), or as GraphQL's own rules say
 * (`graphql`). A request for it changes or reads the record with the id.
 */
type RouteRule = "open" | "graphql" | { needs: Scope; status: number; foreign: number; form?: object };

const NEW = { customer_id: "c", verification_status: "pending", document_type: "visa", document_number: "1" };
const read = (foreign: number): RouteRule => ({ needs: "kyc:read", status: 200, foreign });
const trail = (foreign: number): RouteRule => ({ needs: "audit:read", status: 200, foreign });
const change: RouteRule = {
  ...{ needs: "kyc:write", status: 200, foreign: 404 },
  form: { verification_status: "verified" },
};

/** Every route of the router that serves something. One that has no rule fails the test below. */
const ROUTES: Record<string, RouteRule> = {
  "GET /v1/kyc": read(200),
  "HEAD /v1/kyc": read(200),
  "POST /v1/kyc": { needs: "kyc:write", status: 201, foreign: 201, form: NEW },
  "GET /v1/kyc/": read(200),
  "HEAD /v1/kyc/": read(200),
  "POST /v1/kyc/": { needs: "kyc:write", status: 201, foreign: 201, form: NEW },
  "GET /v1/kyc/:id": read(404),
  "HEAD /v1/kyc/:id": read(404),
  "PUT /v1/kyc/:id": change,
  "PATCH /v1/kyc/:id": change,
  "POST /v1/kyc/:id": change,
  "DELETE /v1/kyc/:id": { needs: "kyc:delete", status: 200, foreign: 404 },
  "POST /v1/kyc/search": read(200),
  "GET /v1/kyc/:id/history": trail(404),
  "HEAD /v1/kyc/:id/history": trail(404),
  "GET /v1/audit_events": trail(200),
  "HEAD /v1/audit_events": trail(200),
  "GET /v1/audit_events/": trail(200),
  "HEAD /v1/audit_events/": trail(200),
  ...all(read(200), "/v1/events", "GET", "HEAD"),
  ...all(read(200), "/v1/events/", "GET", "HEAD"),
  ...all(read(200), "/v1/export", "GET", "HEAD"),
  ...all(read(200), "/v1/export/", "GET", "HEAD"),
  ...all("graphql", "/graphql", "GET", "HEAD", "POST"),
  ...all("open", "/graphql/assets/*", "GET", "HEAD"),
  ...all("open", "/", "GET", "HEAD"),
  ...all("open", "/assets/*", "GET", "HEAD"),
  ...all("open", "/docs", "GET", "HEAD"),
  ...all("open", "/docs/assets/*", "GET", "HEAD"),
  ...all("open", "/openapi.json", "GET", "HEAD"),
  ...all("open", "/health", "GET", "HEAD"),
  ...all("open", "/ready", "GET", "HEAD"),
  ...all("open", "/metrics", "GET", "HEAD"),
};

function all(rule: RouteRule, url: string, ...methods: string[]): Record<string, RouteRule> {
  return Object.fromEntries(methods.map((method) => [`${method} ${url}`, rule]));
}

const SECRET = "SECRET-OF-ACME";
const rulesOf = (table: object): Scope[][] =>
  Object.values(table).flatMap((rule: RouteRule | FieldRule | FindingRule) =>
    typeof rule === "object" ? [[rule.needs ?? [], "shows" in rule ? (rule.shows ?? []) : []].flat()] : [],
  );

/**
 * None, all, each scope alone, each one missing, and what each rule needs alone: a check that does as its rule says with
 * these does so with every other combination, too, unless one scope takes away what another one gives.
 */
const COMBINATIONS: Scope[][] = [
  ...new Map(
    [
      ...[[], [...SCOPES], ...SCOPES.map((scope) => [scope])],
      ...SCOPES.map((scope) => SCOPES.filter((other) => other !== scope)),
      ...[ROOT_FIELDS, FINDING_INPUTS, FINDING_PARAMETERS, ROUTES].flatMap(rulesOf),
    ].map((scopes: Scope[]) => [scopes.toSorted().join(), scopes]),
  ).values(),
];

let gateway: TestApp;
/** Proofs wait for it. */
let stopSealer: () => Promise<void>;
let owner: string;
let stranger: string;
/** Of an account that never has a record. */
let outsider: string;
const tokens = new Map<readonly Scope[], string>();
let id: string;

beforeAll(async () => {
  gateway = await createTestApp();
  stopSealer = startSealer({
    db: gateway.db,
    openDigests: plainDigests,
    log: { warn: () => {}, error: () => {} },
  });
  owner = await gateway.token("acme");
  stranger = await gateway.token("globex");
  outsider = await gateway.token("initech");
  for (const scopes of COMBINATIONS) tokens.set(scopes, await gateway.token("acme", scopes));
});
afterAll(async () => {
  await stopSealer();
  await gateway.close();
});
/** Leaves the owner with one record, a webhook, a hold and an erasure. */
async function startAfresh(): Promise<void> {
  // The records of earlier tests would be in each answer and in each comparison.
  await gateway.db.execute("delete from webhook_endpoints; delete from kycs where account_id = 'acme'");
  await makeWebhook();
  await gateway.db.execute(
    `insert into legal_holds (account_id, id, kyc_id, customer_digest, reason, placed_at)
     values ('acme', $1, 'other', '', 'r', now()) on conflict do nothing`,
    [hold],
  );
  await gateway.db.execute(
    `insert into erasures (account_id, id, customer_digest, erased_at, sequence, kyc_ids, sequences)
     select 'acme', $1, '', now(), sequence, '{}', '{}' from audit_events where account_id = 'acme' limit 1
     on conflict do nothing`,
    [erasure],
  );
  await makeRecord();
}

async function makeWebhook(): Promise<void> {
  webhook = (await addWebhook(gateway, "acme", "https://example.com/hook")).endpoint.id;
}

const stored = async () =>
  (
    await gateway.db.execute(
      `select id, version::text from kycs where account_id = 'acme' union all
       select id, webhook::text from webhook_endpoints webhook where account_id = 'acme' order by id`,
    )
  ).map(({ id, version }) => `${id} ${version}`);

/** Makes the record that the next request is about. */
async function makeRecord(): Promise<void> {
  id = await createRecord(gateway, owner, { documentNumber: SECRET, expiresAt: "2030-01-01T00:00:00Z" });
}

type Check = (scopes: readonly Scope[], lacked: Scope[]) => Promise<void>;

/** Calls `check` for each combination of scopes, with those of `needs` that it lacks. Nothing may change meanwhile. */
async function checkReads(needs: Scope[], check: Check, combinations = COMBINATIONS): Promise<void> {
  const before = await stored();
  await Promise.all(
    combinations.map((scopes) =>
      check(
        scopes,
        needs.filter((scope) => !scopes.includes(scope)),
      ),
    ),
  );
  expect(await stored()).toEqual(before);
}

/** The same for a write: the combinations that lack a scope must change nothing, the others write one by one. */
async function checkWrites(needs: Scope[], check: Check): Promise<void> {
  const allowed = COMBINATIONS.filter((scopes) => needs.every((scope) => scopes.includes(scope)));
  const refused = COMBINATIONS.filter((scopes) => !allowed.includes(scopes));
  await checkReads(needs, check, refused);
  for (const scopes of allowed) await check(scopes, []);
}

/** Makes the record the middle one of three, with three events. */
async function makeFound(): Promise<Found> {
  const older = await createRecord(gateway, owner);
  await makeRecord();
  for (const status of ["VERIFIED", "PENDING"]) {
    const update = `updateKyc(input: { id: "${id}", verificationStatus: ${status} }) { kyc { id } }`;
    await gateway.graphql(owner, `mutation { ${update} }`);
  }
  const newer = await createRecord(gateway, owner);
  const { data } = await gateway.graphql(
    owner,
    `{ kycs(first: 3) { edges { cursor } } kyc(id: "${id}") { history { edges { cursor node { tokenId } } } } }`,
  );
  const [first, , third] = data.kycs.edges as { cursor: string }[];
  const events = data.kyc.history.edges as { cursor: string; node: { tokenId: string } }[];
  return {
    ...{ id, newer: { id: newer, cursor: String(first?.cursor) } },
    older: { id: older, cursor: String(third?.cursor) },
    events: events.map(({ cursor }) => cursor),
    tokenId: String(events[0]?.node.tokenId),
  };
}

/** Asks for everything below a field, as deep as the schema goes. */
function everythingOf(typeName: string): string {
  const type = schema.getType(typeName);
  if (isAbstractType(type)) return `{ __typename ... on Kyc ${everythingOf("Kyc")} }`;
  if (!isObjectType(type)) return "";
  const fields = Object.values(type.getFields());
  return `{ ${fields.map((field) => `${field.name} ${everythingOf(getNamedType(field.type).name)}`).join(" ")} }`;
}

// test/changes/stream.test.ts asks the subscription with these scopes and accounts: its answer has no end.
const rootTypes = [schema.getQueryType(), schema.getMutationType()];
const rootFields = rootTypes.flatMap((type) =>
  Object.values(type?.getFields() ?? {}).map((field) => ({
    name: `${type?.name}.${field.name}`,
    type,
    field,
  })),
);

describe("a search", () => {
  let found: Found;
  beforeAll(async () => {
    await startAfresh();
    found = await makeFound();
  });

  test.each(Object.keys(FINDING_INPUTS))("%s finds something with its scopes alone", async (name) => {
    const { needs, query } = FINDING_INPUTS[name] as FindingRule;
    const text = `{ ${query(found)} }`;
    await checkReads(needs, async (scopes, lacked) => {
      const { data, errors } = await gateway.graphql(tokens.get(scopes) as string, text);
      const codes = (errors ?? []).map(({ extensions }) => extensions.code);
      expect(codes, `${scopes}`).toEqual(lacked.length > 0 ? ["FORBIDDEN"] : []);
      if (lacked.length === 0) expect(JSON.stringify(data)).toContain(id);
      else expect(lacked.some((scope) => errors?.[0]?.message.includes(scope))).toBe(true);
      if (lacked.length > 0) expect(JSON.stringify(data ?? null)).not.toMatch(/customer-1|tokenName|SECRET/);
    });
  });

  test.each(Object.keys(FINDING_INPUTS))("%s finds nothing of another account", async (name) => {
    const { query } = FINDING_INPUTS[name] as FindingRule;
    const { data, errors } = await gateway.graphql(outsider, `{ ${query(found)} }`);
    expect(JSON.stringify({ data, errors })).not.toMatch(new RegExp(`${id}|customer-1|${SECRET}`));
    for (const list of Object.values<{ totalCount?: number } | null>(data ?? {}))
      if (list?.totalCount !== undefined) expect(list.totalCount).toBe(0);
  });

  test.each(Object.keys(FINDING_PARAMETERS))(
    "the list's %s finds something with its scopes alone",
    async (name) => {
      const { needs, query } = FINDING_PARAMETERS[name] as FindingRule;
      const url = `/v1/kyc?${query(found)}`;
      await checkReads(needs, async (scopes, lacked) => {
        const { statusCode, body } = await gateway.rest(tokens.get(scopes) as string, "GET", url);
        const allowed = lacked.length === 0;
        expect(statusCode, `${scopes}`).toBe(allowed ? 200 : 403);
        if (allowed) expect(body).toContain(id);
        else expect(body).not.toMatch(new RegExp(`${id}|customer-1|${SECRET}`));
        const form = url.slice(url.indexOf("?") + 1);
        const searched = await gateway.rest(tokens.get(scopes) as string, "POST", "/v1/kyc/search", { form });
        expect([searched.statusCode, allowed && searched.body]).toEqual([statusCode, allowed && body]);
      });
      const foreign = await gateway.rest(outsider, "GET", url);
      if (foreign.statusCode === 200) expect(foreign.json()).toEqual({ has_more: false, data: [] });
      else expect(foreign.json().error).toMatchObject({ code: "parameter_invalid", param: name });
      expect(foreign.body).not.toMatch(new RegExp(`${id}|customer-1|${SECRET}`));
    },
  );
});

describe("GraphQL", () => {
  beforeEach(startAfresh);

  test("has a rule for every field of the schema, and no rule for what is not there", () => {
    const others = Object.values(schema.getTypeMap())
      .filter((type) => "getFields" in type && !("isOneOf" in type) && !type.name.startsWith("__"))
      .filter((type) => ![...rootTypes, schema.getSubscriptionType()].some((root) => root === type))
      .flatMap((type) =>
        Object.keys((type as { getFields(): object }).getFields()).map((field) => `${type.name}.${field}`),
      );
    expect(rootFields.map(({ name }) => name).sort()).toEqual(Object.keys(ROOT_FIELDS).sort());
    expect(others.sort()).toEqual([...OPEN_WITH_THEIR_PARENTS, ...Object.keys(GUARDED_FIELDS)].sort());
  });

  test("has a rule for every argument and every field of an input, and no rule for what is not there", () => {
    const inputs = Object.values(schema.getTypeMap())
      .filter((type) => !type.name.startsWith("__"))
      .flatMap((type) => {
        if (isInputObjectType(type))
          return Object.keys(type.getFields()).map((name) => `${type.name}.${name}`);
        if (!isObjectType(type) && !isInterfaceType(type)) return [];
        const fields = Object.values(type.getFields());
        return fields.flatMap(({ name, args }) => args.map((arg) => `${type.name}.${name}.${arg.name}`));
      });
    expect(inputs.sort()).toEqual([...Object.keys(FINDING_INPUTS), ...OTHER_INPUTS].sort());
  });

  const ask = (token: string | null, { type, field, name }: (typeof rootFields)[number], of: string) => {
    const kind = type === schema.getQueryType() ? "query" : "mutation";
    const args = ROOT_FIELDS[name]?.args(of);
    return gateway.graphql(
      token,
      `${kind} { ${field.name}${args} ${everythingOf(getNamedType(field.type).name)} }`,
    );
  };

  test.each(rootFields)("$name is for tokens with its scope alone", async (root) => {
    const rule = ROOT_FIELDS[root.name] as FieldRule;
    const checkAll = root.type === schema.getQueryType() ? checkReads : checkWrites;
    await checkAll([rule.needs ?? [], rule.shows ?? []].flat(), async (scopes, [lacked]) => {
      const { data, errors } = await ask(tokens.get(scopes) as string, root, id);
      if (lacked) {
        const codes = errors?.map(({ extensions }) => extensions.code);
        expect(codes, `${scopes}`).toEqual(["FORBIDDEN"]);
        expect(errors?.[0]?.message).toContain(lacked);
        expect(JSON.stringify(data) ?? "").not.toContain(SECRET);
        return;
      }
      expect(data[root.field.name]).not.toBeNull();
      for (const { path, extensions } of errors ?? []) {
        expect(["history", "holds", "sameDocumentCount"]).toContain(path?.at(-1));
        expect(extensions.code).toBe("FORBIDDEN");
      }
      const answer = JSON.stringify(data);
      const guards = new Set(Object.values(GUARDED_FIELDS));
      if ([...guards].every((scope) => scopes.includes(scope))) expect(errors, `${scopes}`).toBeUndefined();
      if (!scopes.includes("audit:read")) expect(answer).not.toContain("tokenName");
      if (!scopes.includes("kyc:pii")) expect(answer).not.toContain(SECRET);
      else if (["Query.kyc", "Query.customerExport"].includes(root.name)) expect(answer).toContain(SECRET);
      if (root.name === "Mutation.deleteWebhook") await makeWebhook();
      if (root.name === "Mutation.deleteKyc") await makeRecord();
    });
  });

  test.each(rootFields)("$name opens nothing to another account, nor to nobody", async (root) => {
    const before = await stored();
    for (const token of [stranger, null, "kyc_wrong"]) {
      const { data, errors } = await ask(token, root, id);
      expect(JSON.stringify({ data, errors })).not.toMatch(new RegExp(`${SECRET}|"customer-1"`));
      if (token !== stranger) expect(errors?.[0]?.extensions.code).toBe("UNAUTHENTICATED");
    }
    expect(await stored()).toEqual(before);
  });
});

/** The routes of the router, as it prints them: a tree of parts of addresses with their methods. */
function routes(): string[] {
  const parts: string[] = [];
  return gateway.app
    .printRoutes({ commonPrefix: false })
    .split("\n")
    .flatMap((line) => {
      const [, indent = "", part = "", methods = ""] = /^([│├└─\s]*)(\S+) \((.*)\)$/.exec(line) ?? [];
      if (part === "") return [];
      parts.splice(indent.length / 4 - 1, Number.POSITIVE_INFINITY, part);
      const url = parts.join("").replace(/\/assets\/.*/, "/assets/*");
      return methods.split(", ").map((method) => `${method} ${url}`);
    });
}

describe("REST", () => {
  beforeEach(startAfresh);

  test("has no rule for what is not there", () => {
    const found = new Set(routes());
    // These exist once the front end is built.
    for (const url of ["/graphql/assets/*", "/docs/assets/*", "/docs"]) {
      for (const method of ["GET", "HEAD"]) found.add(`${method} ${url}`);
    }
    expect(Object.keys(ROUTES).filter((route) => !found.has(route))).toEqual([]);
  });

  test("has a rule for every route of the router, unless it refuses everyone and does nothing", async () => {
    const before = await stored();
    for (const route of new Set(routes())) {
      if (route in ROUTES || route.includes("*")) continue;
      for (const token of [owner, null]) {
        const { statusCode, body } = await ask(route, token, id);
        const expected = route.startsWith("OPTIONS ") ? [route, 204, ""] : [route, 405, body];
        expect([route, statusCode, body]).toEqual(expected);
        expect(body).not.toContain(SECRET);
      }
    }
    expect(await stored()).toEqual(before);
  });

  const ask = (route: string, token: string | null, of: string) => {
    const [method, url = ""] = route.split(" ");
    const rule = ROUTES[route];
    return gateway.app.inject({
      method: method as NonNullable<InjectOptions["method"]>,
      url: url.replace(":id", of),
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        "content-type": "application/x-www-form-urlencoded",
      },
      ...(typeof rule === "object" &&
        rule.form && { payload: new URLSearchParams({ ...rule.form }).toString() }),
    });
  };
  const guarded = Object.keys(ROUTES).filter((route) => typeof ROUTES[route] === "object");

  test.each(guarded)("%s is for tokens with its scope alone", async (route) => {
    const rule = ROUTES[route] as Exclude<RouteRule, string>;
    // More exports at once than one gateway runs are refused.
    const atOnce = rule.needs.endsWith(":read") && !route.includes("/v1/export");
    const checkAll = atOnce ? checkReads : checkWrites;
    await checkAll([rule.needs], async (scopes, [lacked]) => {
      const { statusCode, body } = await ask(route, tokens.get(scopes) as string, id);
      if (!scopes.includes("kyc:pii")) expect(body).not.toContain(SECRET);
      expect(statusCode, `${scopes}`).toBe(lacked ? 403 : rule.status);
      if (lacked) {
        if (!route.startsWith("HEAD")) expect(body).toContain(lacked);
        expect(body).not.toContain(SECRET);
      } else if (route.startsWith("DELETE")) await makeRecord();
    });
  });

  test.each(guarded)("%s opens nothing to another account, nor to nobody", async (route) => {
    const rule = ROUTES[route] as Exclude<RouteRule, string>;
    const before = await stored();
    const foreign = await ask(route, stranger, id);
    expect(foreign.statusCode).toBe(rule.foreign);
    for (const token of [null, "kyc_wrong"]) expect((await ask(route, token, id)).statusCode).toBe(401);
    expect(foreign.body).not.toMatch(new RegExp(`${SECRET}|${id}`));
    expect(await stored()).toEqual(before);
  });

  test("has a rule for every parameter of the list", async () => {
    const { paths } = (await gateway.app.inject("/openapi.json")).json();
    const parameters = paths["/v1/kyc"].get.parameters as { name?: string; in?: string }[];
    const found = parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name);
    expect(found.sort()).toEqual(["limit", ...Object.keys(FINDING_PARAMETERS)].sort());
  });

  test.each(Object.keys(ROUTES).filter((route) => ROUTES[route] === "open" || ROUTES[route] === "graphql"))(
    "%s tells nobody of a record, whatever the token",
    async (route) => {
      for (const token of [stranger, null, "kyc_wrong"]) {
        const { statusCode, body } = await ask(route, token, id);
        expect(statusCode).toBeLessThan(500);
        expect(body).not.toMatch(new RegExp(`${SECRET}|${id}|acme`));
      }
    },
  );
});
