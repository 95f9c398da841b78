import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { revokeToken } from "../../src/auth/tokens.ts";
import { startSealer } from "../../src/ledger/seal.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { openStream } from "../support/event-stream.ts";
import { plainDigests, writeEvents } from "../support/ledger.ts";

const CHANGED = `subscription ($after: String, $filter: KycChangeFilter) {
  kycChanged(after: $after, filter: $filter) {
    cursor position at action kycId kyc { id customerId verificationStatus documentNumber version }
  }
}`;
const silent = { warn: () => {}, error: () => {} };

let gateway: TestApp;
let url: string;
let stopSealer: () => Promise<void>;
beforeAll(async () => {
  gateway = await createTestApp({ MAX_SUBSCRIBERS_PER_ACCOUNT: "3" });
  stopSealer = startSealer({ db: gateway.db, openDigests: plainDigests, log: silent });
  await gateway.app.listen({ port: 0, host: "127.0.0.1" });
  url = `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await stopSealer();
  // The client keeps connections for its next requests.
  gateway.app.server.closeAllConnections();
  await gateway.close();
});

const form = (customer: string, status = "pending", type = "passport") => ({
  customer_id: customer,
  verification_status: status,
  document_type: type,
  document_number: `X-${customer}-1234`,
});
async function create(token: string, ...fields: Parameters<typeof form>): Promise<string> {
  const answer = await gateway.rest(token, "POST", "/v1/kyc", { form: form(...fields) });
  return answer.json().id;
}
const cursorNow = async (token: string) =>
  (await gateway.graphql(token, "{ changeCursor }")).data.changeCursor as string;
const changesOf = (results: { data: { kycChanged: object } }[]) => results.map(({ data }) => data.kycChanged);

test("a stream has each change once, in order, with its cursor as the id", async () => {
  const token = await gateway.token("in-order");
  const stream = await openStream(url, token, CHANGED);
  expect(stream.status).toBe(200);
  expect(stream.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  expect(stream.headers.get("x-accel-buffering")).toBe("no");
  const id = await create(token, "c1");
  await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form: { verification_status: "verified" } });
  await stream.until(2);
  await gateway.rest(token, "DELETE", `/v1/kyc/${id}`);
  const changes = changesOf(await stream.until(3));
  expect(changes).toMatchObject([
    { position: 0, action: "CREATED", kycId: id },
    { position: 1, action: "UPDATED", kycId: id, kyc: { verificationStatus: "VERIFIED", version: 2 } },
    { position: 2, action: "DELETED", kycId: id, kyc: null },
  ]);
  const events = stream.blocks.filter(({ event }) => event === "next");
  expect(events.map(({ id }) => id)).toEqual(changes.map((change) => (change as { cursor: string }).cursor));
  stream.close();
});

test("a stream continues after `after` and after Last-Event-ID, which wins, by POST and by GET", async () => {
  const token = await gateway.token("resumed");
  const start = await cursorNow(token);
  for (const customer of ["a", "b", "c", "d"]) await create(token, customer);
  const all = await openStream(url, token, CHANGED, { variables: { after: start } });
  const results = changesOf(await all.until(4)) as { cursor: string; position: number }[];
  expect(results.map(({ position }) => position)).toEqual([0, 1, 2, 3]);
  all.close();
  for (const method of ["POST", "GET"] as const) {
    const after = { variables: { after: results[0]?.cursor }, method };
    const one = await openStream(url, token, CHANGED, after);
    expect(changesOf(await one.until(3))).toEqual(results.slice(1));
    one.close();
    const headers = { "last-event-id": results[2]?.cursor as string };
    const other = await openStream(url, token, CHANGED, { ...after, headers });
    expect(changesOf(await other.until(1))).toEqual(results.slice(3));
    other.close();
  }
});

test("a cursor that is malformed, of another account, or ahead of the log is an input error", async () => {
  const [token, other] = [await gateway.token("here"), await gateway.token("elsewhere")];
  await create(other, "x");
  await expect.poll(() => cursorNow(other)).not.toBe(await cursorNow(await gateway.token("here-again")));
  const foreign = await cursorNow(other);
  const ahead = Buffer.from(
    Buffer.from(await cursorNow(token), "base64url")
      .toString()
      .replace(/0$/, "7"),
  );
  const cases: [string, RegExp][] = [
    ["x", /not a cursor/],
    ["", /not a cursor/],
    [foreign, /not a cursor/],
    [ahead.toString("base64url"), /restored/],
  ];
  for (const [after, message] of cases) {
    const stream = await openStream(url, token, CHANGED, { variables: { after } });
    await stream.ended;
    expect(stream.blocks.at(-1)).toEqual({ event: "complete" });
    const [{ errors }] = stream.results();
    expect(errors[0]).toMatchObject({ extensions: { code: "BAD_USER_INPUT", fields: [{ path: "after" }] } });
    expect(errors[0].message).toMatch(message);
  }
});

test("a stream has what matches the filter, and passes over events that are no changes of records", async () => {
  const token = await gateway.token("filtered");
  const start = await cursorNow(token);
  const ids = [
    await create(token, "c1"),
    await create(token, "c2", "verified", "visa"),
    await create(token, "c1", "failed", "visa"),
  ];
  await gateway.db.execute(
    `insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
     values ('filtered', now(), 't', 't', 'rest', 'r', 'read', '{a,b}', '{}')`,
  );
  await gateway.rest(token, "PUT", `/v1/kyc/${ids[0]}`, { form: { verification_status: "verified" } });
  const matching = async (filter: object, count: number) => {
    const stream = await openStream(url, token, CHANGED, { variables: { after: start, filter } });
    const changes = changesOf(await stream.until(count)) as { position: number }[];
    stream.close();
    return changes.map(({ position }) => position);
  };
  expect(await matching({}, 4)).toEqual([0, 1, 2, 4]);
  expect(await matching({ customerId: "c1" }, 3)).toEqual([0, 2, 4]);
  expect(await matching({ verificationStatus: "VERIFIED" }, 2)).toEqual([1, 4]);
  expect(await matching({ documentType: "VISA" }, 2)).toEqual([1, 2]);
  expect(await matching({ action: "UPDATED" }, 1)).toEqual([4]);
  expect(await matching({ kycId: ids[2], action: null }, 1)).toEqual([2]);
});

test("a deletion, and earlier changes of a record that is deleted, match by what the record was", async () => {
  const token = await gateway.token("deleted");
  const start = await cursorNow(token);
  const ids = [await create(token, "c1"), await create(token, "c2", "failed", "visa")];
  const change = { verification_status: "verified", document_type: "id_card" };
  await gateway.rest(token, "PUT", `/v1/kyc/${ids[0]}`, { form: change });
  const matching = async (filter: object, count: number) => {
    const stream = await openStream(url, token, CHANGED, { variables: { after: start, filter } });
    const changes = changesOf(await stream.until(count)) as { position: number }[];
    // One more than what matches would have come with it.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(stream.results().length).toBe(count);
    stream.close();
    return changes.map(({ position }) => position);
  };
  const before = await openStream(url, token, CHANGED, { variables: { after: start } });
  const [, , { cursor: after }] = changesOf(await before.until(3)) as [object, object, { cursor: string }];
  before.close();
  const live = await openStream(url, token, CHANGED, {
    variables: { after, filter: { customerId: "c1" } },
  });
  for (const id of ids) await gateway.rest(token, "DELETE", `/v1/kyc/${id}`);
  expect(changesOf(await live.until(1))).toMatchObject([{ action: "DELETED", kycId: ids[0], kyc: null }]);
  live.close();
  expect(await matching({ customerId: "c1" }, 3)).toEqual([0, 2, 3]);
  expect(await matching({ customerId: "c2" }, 2)).toEqual([1, 4]);
  expect(await matching({ documentType: "ID_CARD" }, 3)).toEqual([0, 2, 3]);
  expect(await matching({ documentType: "VISA", customerId: "c2", action: "DELETED" }, 1)).toEqual([4]);
  expect(await matching({ verificationStatus: "VERIFIED" }, 2)).toEqual([2, 3]);
  expect(await matching({ verificationStatus: "FAILED", customerId: "c2" }, 2)).toEqual([1, 4]);
  const other = await gateway.token("deleted-elsewhere");
  await create(other, "c1");
  const foreign = await openStream(url, other, CHANGED, { variables: { filter: { kycId: ids[0] } } });
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(foreign.results()).toEqual([]);
  foreign.close();
});

test("what a token may not see is masked or refused, on streams that others share", async () => {
  const writer = await gateway.token("scoped");
  const [full, masked] = [writer, await gateway.token("scoped", ["kyc:read"])];
  const streams = [await openStream(url, full, CHANGED), await openStream(url, masked, CHANGED)];
  await create(writer, "c1");
  const shown = [];
  for (const stream of streams) {
    const [change] = changesOf(await stream.until(1)) as { kyc: { documentNumber: string } }[];
    shown.push(change?.kyc.documentNumber);
    stream.close();
  }
  expect(shown).toEqual(["X-c1-1234", "•••••1234"]);
  const blind = await openStream(url, await gateway.token("scoped", ["kyc:write"]), CHANGED);
  await blind.ended;
  expect(blind.results()).toMatchObject([{ errors: [{ extensions: { code: "FORBIDDEN" } }] }]);
  const nobody = await openStream(url, null, CHANGED);
  expect((await nobody.until(1))[0].errors[0].extensions.code).toBe("UNAUTHENTICATED");
});

test("an account never sees the changes of another one", async () => {
  const [token, other] = [await gateway.token("mine"), await gateway.token("theirs")];
  const stream = await openStream(url, token, CHANGED);
  await create(other, "secret");
  const id = await create(token, "own");
  expect(changesOf(await stream.until(1))).toMatchObject([{ kycId: id }]);
  stream.close();
});

test("a stream ends within a second of the revocation and of the expiry of its token, without `complete`", async () => {
  const token = await gateway.token("revoked");
  const short = await gateway.token("revoked", ["kyc:read"], Date.now() + 1500);
  const [revoked, expired] = [await openStream(url, token, CHANGED), await openStream(url, short, CHANGED)];
  const [{ id } = { id: "" }] = await gateway.db.execute<{ id: string }>(
    "select id from tokens where account_id = 'revoked' and expires_at is null",
  );
  await revokeToken(gateway.db, gateway.keys, id, Date.now(), null);
  const began = Date.now();
  await revoked.ended;
  expect(Date.now() - began).toBeLessThan(1000);
  await expired.ended;
  for (const { blocks } of [revoked, expired]) {
    expect(blocks.length).toBeGreaterThan(0);
    expect(blocks.filter(({ event }) => event)).toEqual([]);
  }
});

test("a subscription is refused with 406 unless the client accepts an event stream", async () => {
  const token = await gateway.token("refused");
  for (const accept of [
    "application/json",
    "application/graphql-response+json",
    "text/html",
    "*/*, text/event-stream;q=0",
  ]) {
    const answer = await gateway.app.inject({
      method: "POST",
      url: "/graphql",
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${token}`,
        accept,
      },
      payload: JSON.stringify({ query: CHANGED }),
    });
    expect(answer.statusCode, accept).toBe(406);
    expect(answer.json().errors[0].message).toMatch(/text\/event-stream/);
  }
  // As urql's own exchange asks, as curl does, and as a client does that names nothing.
  const urql = "application/graphql-response+json, application/json, text/event-stream, multipart/mixed";
  for (const accept of [urql, "*/*", "text/*", ""]) {
    const stream = await openStream(url, token, CHANGED, { headers: { accept } });
    expect(stream.headers.get("content-type"), accept).toBe("text/event-stream; charset=utf-8");
    stream.close();
  }
  const head = await fetch(`${url}/graphql?query=${encodeURIComponent(CHANGED)}`, {
    method: "HEAD",
    headers: { accept: "text/event-stream", authorization: `Bearer ${token}` },
  });
  expect(head.status).toBe(200);
  expect([...head.headers.keys()]).not.toContain("content-length");
  expect(head.headers.get("x-accel-buffering")).toBe("no");
});

test("a query over an event stream is one event and the end", async () => {
  const stream = await openStream(url, await gateway.token("query"), "{ changeCursor }");
  await stream.ended;
  expect(stream.blocks).toMatchObject([{ event: "next", data: { data: {} } }, { event: "complete" }]);
});

test("an account has no more streams than its limit, and gets room again once one ends", async () => {
  const token = await gateway.token("many");
  const streams = [];
  for (let n = 0; n < 3; n++) streams.push(await openStream(url, token, CHANGED));
  const refused = await openStream(url, token, CHANGED);
  expect(refused.status).toBe(429);
  expect(refused.headers.get("retry-after")).toBe("1");
  streams[0]?.close();
  await expect
    .poll(async () => {
      const stream = await openStream(url, token, CHANGED);
      streams.push(stream);
      return stream.status;
    })
    .toBe(200);
  for (const stream of streams) stream.close();
  await expect.poll(() => gateway.logs.figures().followers).toBe(0);
});

test("thousands of events are read page by page, each once", async () => {
  const token = await gateway.token("long");
  const start = await cursorNow(token);
  await writeEvents(
    gateway.db,
    "long",
    Array.from({ length: 3000 }, (_, n) => `r${n}`),
  );
  const query = CHANGED.replace(/kyc \{.*?\}/, "");
  const stream = await openStream(url, token, query, { variables: { after: start } });
  const changes = changesOf(await stream.until(3000)) as { position: number }[];
  expect(changes.map(({ position }) => position)).toEqual(changes.map((_, n) => n));
  stream.close();
});

test("streams that get the same share statements, and have none while nothing happens", async () => {
  const token = await gateway.token("quiet");
  const streams = await Promise.all([1, 2, 3].map(() => openStream(url, token, CHANGED)));
  await expect.poll(() => gateway.logs.figures().listening).toBe(true);
  const statements: string[] = [];
  gateway.db.observe({ waited: () => {}, statementEnded: ({ text }) => statements.push(text) });
  const id = await create(token, "c1");
  for (const stream of streams) expect(changesOf(await stream.until(1))).toMatchObject([{ kycId: id }]);
  expect(statements.filter((text) => /join audit_events/.test(text))).toHaveLength(1);
  statements.length = 0;
  await new Promise((resolve) => setTimeout(resolve, 1200));
  // The sealer looks for events, and the tokens and sizes of all streams are looked up together.
  const own = statements.filter((text) => !/ledger_progress/.test(text));
  expect(own.length, own.join("\n")).toBeLessThanOrEqual(6);
  for (const stream of streams) stream.close();
});

test("the log and the metrics say how each stream has ended, and a stream is no request in progress", async () => {
  const token = await gateway.token("observed");
  const stream = await openStream(url, token, CHANGED);
  await create(token, "c1");
  await stream.until(1);
  const text = async () => (await gateway.app.inject("/metrics")).body;
  const has = async (pattern: RegExp) => pattern.test(await text());
  expect(await has(/^change_subscribers 1$/m)).toBe(true);
  expect(await has(/^graphql_operation_duration_seconds_count{operation="kycChanged",outcome="OK"}/m)).toBe(
    true,
  );
  stream.close();
  await expect.poll(() => has(/^change_subscribers 0$/m)).toBe(true);
  await expect
    .poll(() =>
      gateway
        .logged()
        .split("\n")
        .filter((line) => /"observed".*stream ended/.test(line)),
    )
    .toMatchObject([/"reason":"client","changes":1,/].map((pattern) => expect.stringMatching(pattern)));
});

// The last one: nothing can be followed afterwards.
test("streams end without `complete` when the gateway stops, also those that begin then", async () => {
  const token = await gateway.token("drained");
  const stream = await openStream(url, token, CHANGED);
  await gateway.logs.close();
  await stream.ended;
  const late = await openStream(url, token, CHANGED);
  expect(late.status).toBe(200);
  await late.ended;
  for (const { blocks } of [stream, late]) expect(blocks.filter(({ event }) => event)).toEqual([]);
});
