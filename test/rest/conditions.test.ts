import { randomUUID } from "node:crypto";
import type { InjectOptions } from "fastify";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createOpenapi } from "../../src/rest/openapi/openapi.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createRecord } from "../support/records.ts";

type Method = NonNullable<InjectOptions["method"]>;

let gateway: TestApp;
/** Sees numbers in full. */
let full: string;
/** Sees them masked, of the same account. */
let masked: string;
beforeAll(async () => {
  gateway = await createTestApp({ MAX_EXPORTS: "1000" });
  const account = randomUUID();
  full = await gateway.token(account);
  masked = await gateway.token(account, ["kyc:read", "kyc:write", "kyc:delete", "audit:read"]);
});
afterAll(() => gateway.close());

const NEW = {
  customer_id: "c",
  verification_status: "pending",
  document_type: "visa",
  document_number: "77881234",
};

/** A route and a method of this surface, and what it answers without a condition. */
interface Call {
  method: Method;
  path: string;
  json?: object;
  status: number;
  /** The resource at the address: a record with a tag, something without a tag, or nothing yet. */
  target: "record" | "page" | "nothing";
}

const CALLS: Call[] = [
  { method: "GET", path: "/v1/kyc", status: 200, target: "page" },
  { method: "HEAD", path: "/v1/kyc", status: 200, target: "page" },
  ...["/v1/kyc/{id}/history", "/v1/audit_events", "/v1/events", "/v1/export"].flatMap((path) =>
    (["GET", "HEAD"] as const).map((method) => ({ method, path, status: 200, target: "page" as const })),
  ),
  { method: "POST", path: "/v1/kyc", json: NEW, status: 201, target: "nothing" },
  { method: "POST", path: "/v1/kyc/search", json: {}, status: 200, target: "nothing" },
  { method: "GET", path: "/v1/kyc/{id}", status: 200, target: "record" },
  { method: "HEAD", path: "/v1/kyc/{id}", status: 200, target: "record" },
  ...(["PUT", "PATCH", "POST"] as const).map((method) => ({
    ...{ method, path: "/v1/kyc/{id}", json: { verification_status: "failed" } },
    ...{ status: 200, target: "record" as const },
  })),
  { method: "DELETE", path: "/v1/kyc/{id}", status: 200, target: "record" },
];

test("each method of each address is among these calls", () => {
  const described = Object.entries(createOpenapi().paths).flatMap(([path, item]) =>
    Object.keys(item)
      .filter((name) => name !== "parameters")
      .flatMap((name) =>
        (name === "get" ? ["GET", "HEAD"] : [name.toUpperCase()]).map((m) => `${m} ${path}`),
      ),
  );
  expect(CALLS.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(described.sort());
});

type Outcome = "done" | "conflict" | "known";
/** A header on a record at version 1, and whether it matches the record's full and masked answer, or anything. */
interface Condition {
  value: string;
  matches: { full: boolean; masked: boolean } | "anything";
}

const both = { full: true, masked: true };
const neither = { full: false, masked: false };
const onlyFull = { full: true, masked: false };
const onlyMasked = { full: false, masked: true };
const CONDITIONS: Condition[] = [
  { value: "*", matches: "anything" },
  { value: " * ", matches: "anything" },
  { value: '"1"', matches: onlyFull },
  { value: 'W/"1"', matches: onlyFull },
  { value: '"1-masked"', matches: onlyMasked },
  { value: 'W/"1-masked"', matches: onlyMasked },
  { value: '"1", "1-masked"', matches: both },
  { value: '"7","1"', matches: onlyFull },
  { value: ', ,"7",, W/"1",', matches: onlyFull },
  { value: '"1-gzip"', matches: onlyFull },
  { value: 'W/"1;gzip"', matches: onlyFull },
  { value: '"1--gzip"', matches: onlyFull },
  { value: '"1-br"', matches: onlyFull },
  { value: '"1-zstd"', matches: onlyFull },
  { value: '"1-masked-gzip"', matches: onlyMasked },
  { value: '"\u00e9\u00ff", "1"', matches: onlyFull },
  { value: '"a,b", "1"', matches: onlyFull },
  { value: '"2"', matches: neither },
  { value: 'W/"2"', matches: neither },
  { value: '"2-masked"', matches: neither },
  { value: '"7", "8"', matches: neither },
  { value: '"01"', matches: neither },
  { value: '"1.0"', matches: neither },
  { value: '"-1"', matches: neither },
  { value: '"1-other"', matches: neither },
  { value: '"gzip-1"', matches: neither },
  { value: '"1gzip"', matches: neither },
  { value: '"0"', matches: neither },
  { value: '""', matches: neither },
  { value: '"another server\'s"', matches: neither },
  { value: '"99999999999999999999"', matches: neither },
  { value: ",", matches: neither },
];

const SAFE = ["GET", "HEAD"];

/** RFC 9110, section 13.1: what the address represents decides whether a condition holds. */
function matchesTarget(
  { target }: Call,
  { matches }: Condition,
  kind: "full" | "masked" | "either",
): boolean {
  if (target === "nothing") return false;
  if (matches === "anything") return true;
  if (target === "page") return false;
  return kind === "either" ? matches.full || matches.masked : matches[kind];
}

/** Section 13.2.2, in its order. */
function outcomeOf(
  call: Call,
  kind: "full" | "masked",
  { ifMatch, ifNoneMatch }: { ifMatch?: Condition | undefined; ifNoneMatch?: Condition | undefined },
): Outcome {
  if (ifMatch && !matchesTarget(call, ifMatch, "either")) return "conflict";
  if (ifNoneMatch && matchesTarget(call, ifNoneMatch, kind))
    return SAFE.includes(call.method) ? "known" : "conflict";
  return "done";
}

/** Headers with conditions, and what a call with them comes to. */
interface Case {
  headers: Record<string, string>;
  outcome: Outcome;
}

async function expectAnswer(call: Call, kind: "full" | "masked", { headers, outcome }: Case, id: string) {
  const token = kind === "full" ? full : masked;
  const answer = await gateway.rest(token, call.method, call.path.replace("{id}", id), { ...call, headers });
  const status = { done: call.status, conflict: 412, known: 304 }[outcome];
  expect([JSON.stringify(headers), answer.statusCode]).toEqual([JSON.stringify(headers), status]);
  if (outcome === "conflict" && call.method !== "HEAD") {
    const { type, code, current_version } = answer.json().error;
    expect([type, code]).toEqual(["conflict_error", "version_conflict"]);
    expect(current_version).toBe(call.target === "record" ? 1 : undefined);
  }
  if (outcome === "known") {
    expect(answer.body).toBe("");
    expect(answer.headers["cache-control"]).toBe("no-store");
    const tag = kind === "full" ? '"1"' : '"1-masked"';
    expect(answer.headers.etag).toBe(call.target === "record" ? tag : undefined);
  }
}

/** The versions of these records, in their order, and the number of all. A record that was deleted has no version. */
async function versionsOf(ids: readonly string[]) {
  const rows = await gateway.db.execute<{ id: string; version: number }>(
    "select id, version from kycs where id = any($1::text[])",
    [ids],
  );
  const [row] = await gateway.db.execute<{ count: number }>("select count(*)::int from kycs");
  const versions = new Map(rows.map(({ id, version }) => [id, version]));
  return { versions: ids.map((id) => versions.get(id)), count: row?.count };
}

/**
 * Sends the call with the headers of all cases at once, and looks at the answers and at what has become of the records.
 * Each call that is to change or delete a record gets one of its own; the others share one, which stays as it is.
 */
async function expectOutcomes(call: Call, kind: "full" | "masked", cases: readonly Case[]): Promise<void> {
  const creates = call.method === "POST" && call.path === "/v1/kyc";
  const writes = !SAFE.includes(call.method) && call.target === "record";
  const isWritten = cases.map(({ outcome }) => writes && outcome === "done");
  const shared = await createRecord(gateway, full);
  const ids = await Promise.all(isWritten.map((own) => (own ? createRecord(gateway, full) : shared)));
  const before = await versionsOf(ids);
  expect(new Set(before.versions)).toEqual(new Set([1]));

  await Promise.all(cases.map((one, index) => expectAnswer(call, kind, one, ids[index] as string)));
  const after = await versionsOf(ids);
  const written = call.method === "DELETE" ? undefined : 2;
  expect(after.versions).toEqual(isWritten.map((own) => (own ? written : 1)));
  const deleted = call.method === "DELETE" ? isWritten.filter(Boolean).length : 0;
  const created = creates ? cases.filter(({ outcome }) => outcome === "done").length : 0;
  expect(after.count).toBe((before.count ?? 0) + created - deleted);
}

describe.each(["full", "masked"] as const)("with a token that sees numbers %s", (kind) => {
  test.each(CALLS)("$method $path does as RFC 9110 says under each condition", async (call) => {
    const cases = CONDITIONS.flatMap((condition): Case[] => [
      { headers: { "if-match": condition.value }, outcome: outcomeOf(call, kind, { ifMatch: condition }) },
      {
        headers: { "if-none-match": condition.value },
        outcome: outcomeOf(call, kind, { ifNoneMatch: condition }),
      },
    ]);
    await expectOutcomes(call, kind, cases);
  });

  test.each(CALLS)("$method $path looks at If-Match before If-None-Match", async (call) => {
    const some = CONDITIONS.filter(({ value }) => ["*", '"1"', '"1-masked"', '"2"'].includes(value));
    const cases = some.flatMap((ifMatch) =>
      some.map((ifNoneMatch) => ({
        headers: { "if-match": ifMatch.value, "if-none-match": ifNoneMatch.value },
        outcome: outcomeOf(call, kind, { ifMatch, ifNoneMatch }),
      })),
    );
    await expectOutcomes(call, kind, cases);
  });
});

const MALFORMED = [
  "1",
  "garbage",
  '"1',
  '1"',
  '"1" "2"',
  '*, "1"',
  "*,*",
  'w/"1"',
  '"1"; "2"',
  '"1"-gzip',
  "\u00e9",
];

test.each(CALLS)("$method $path names a condition that is no list of tags", async (call) => {
  const id = await createRecord(gateway, full);
  const before = await versionsOf([id]);
  const send = async (name: string, value: string) => {
    const sent = { ...call, headers: { [name]: value } };
    const answer = await gateway.rest(full, call.method, call.path.replace("{id}", id), sent);
    expect([value, answer.statusCode]).toEqual([value, 400]);
    if (call.method !== "HEAD") expect(answer.json().error.param).toBe(name);
  };
  await Promise.all(
    ["If-Match", "If-None-Match"].flatMap((name) => MALFORMED.map((value) => send(name, value))),
  );
  expect(await versionsOf([id])).toEqual(before);
});

test("conditions are ignored if the answer is a failure without them", async () => {
  const conditions = { "if-match": '"9"', "if-none-match": "*" };
  const reader = await gateway.token(randomUUID(), ["kyc:read"]);
  for (const { method, path, json } of CALLS.filter(({ target }) => target === "record")) {
    const sent = { ...(json && { json }), headers: conditions };
    const answer = await gateway.rest(full, method, path.replace("{id}", "A".repeat(16)), sent);
    expect(answer.statusCode).toBe(404);
    expect((await gateway.rest(null, method, path.replace("{id}", "x"), sent)).statusCode).toBe(401);
    if (!SAFE.includes(method))
      expect((await gateway.rest(reader, method, path.replace("{id}", "x"), sent)).statusCode).toBe(403);
  }
  const invalid = await gateway.rest(full, "POST", "/v1/kyc", { json: {}, headers: conditions });
  expect(invalid.statusCode).toBe(400);
});

test("dates are no conditions, as no answer has one", async () => {
  const id = await createRecord(gateway, full);
  const headers = {
    "if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT",
    "if-unmodified-since": "Thu, 01 Jan 1970 00:00:00 GMT",
  };
  for (const method of ["GET", "PUT", "DELETE"] as const) {
    const answer = await gateway.rest(full, method, `/v1/kyc/${id}`, { headers });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers["last-modified"]).toBeUndefined();
  }
});

test("of updates that are sent together with one tag, exactly one is done, whichever condition has the tag", async () => {
  const id = await createRecord(gateway, full);
  const words = ["verified", "failed", "expired", "in_review"];
  const update = (verification_status: string, headers: Record<string, string>) =>
    gateway.rest(full, "PUT", `/v1/kyc/${id}`, { form: { verification_status }, headers });
  const matching = await Promise.all(words.map((word) => update(word, { "if-match": '"1"' })));
  expect(matching.map(({ statusCode }) => statusCode).sort()).toEqual([200, 412, 412, 412]);
  // At version 2 now. One of them makes version 3, at which none of the others is to be done.
  const other = words.filter(
    (word) => word !== matching.find((a) => a.statusCode === 200)?.json().verification_status,
  );
  const unless = await Promise.all(other.map((word) => update(word, { "if-none-match": '"3"' })));
  expect(unless.map(({ statusCode }) => statusCode).sort()).toEqual([200, 412, 412]);
});

test("a conflict that a key remembers still names the version that the record was at", async () => {
  const id = await createRecord(gateway, full);
  const conflict = (headers: Record<string, string>) =>
    gateway.rest(full, "DELETE", `/v1/kyc/${id}`, { headers: { "idempotency-key": "once", ...headers } });
  for (const replayed of [undefined, "true"]) {
    const answer = await conflict({ "if-none-match": '"1", "5"' });
    expect([answer.statusCode, answer.json().error.current_version]).toEqual([412, 1]);
    expect(answer.headers["idempotent-replayed"]).toBe(replayed);
    // Written otherwise, the same.
    expect((await conflict({ "if-none-match": ' "5",W/"1"' })).statusCode).toBe(412);
  }
  const other = await conflict({ "if-none-match": "*" });
  expect(other.json().error.code).toBe("idempotency_mismatch");
});

test("GraphQL names the current version in a field, too", async () => {
  const id = await createRecord(gateway, full);
  for (const field of [
    `updateKyc(input: { id: "${id}", verificationStatus: FAILED, expectedVersion: 4 }) { kyc { id } }`,
    `deleteKyc(input: { id: "${id}", expectedVersion: 4 }) { deletedId }`,
  ]) {
    const { errors } = await gateway.graphql(full, `mutation { ${field} }`);
    expect(errors?.[0]?.extensions).toMatchObject({ code: "VERSION_CONFLICT", currentVersion: 1 });
  }
});

test("the tag of a record is another one after each change, and another one for a token that sees it masked", async () => {
  const id = await createRecord(gateway, full);
  const tagFor = async (token: string) => (await gateway.rest(token, "GET", `/v1/kyc/${id}`)).headers.etag;
  expect([await tagFor(full), await tagFor(masked)]).toEqual(['"1"', '"1-masked"']);
  const changed = await gateway.rest(masked, "PUT", `/v1/kyc/${id}`, {
    form: { verification_status: "failed" },
    headers: { "if-match": '"1"' },
  });
  expect(changed.headers.etag).toBe('"2-masked"');
  expect(await tagFor(full)).toBe('"2"');
});
