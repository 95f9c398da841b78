import { type AddressInfo, connect } from "node:net";
import Stripe from "stripe";
import { afterAll, beforeAll, expect, test } from "vitest";
import { byCommand, byGateway, recordAct } from "../../src/administration/record-act.ts";
import { revokeToken } from "../../src/auth/tokens.ts";
import { startSealer } from "../../src/ledger/seal.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { plainDigests } from "../support/ledger.ts";

const silent = { warn: () => {}, error: () => {} };
let gateway: TestApp;
let port: number;
let stopSealer: () => Promise<void>;
beforeAll(async () => {
  gateway = await createTestApp();
  stopSealer = startSealer({ db: gateway.db, openDigests: plainDigests, log: silent });
  await gateway.app.listen({ port: 0, host: "127.0.0.1" });
  port = (gateway.app.server.address() as AddressInfo).port;
});
afterAll(async () => {
  await stopSealer();
  await gateway.close();
});

async function create(token: string, customer: string): Promise<string> {
  const form = {
    ...{ customer_id: customer, verification_status: "pending" },
    ...{ document_type: "visa", document_number: "N1" },
  };
  return (await gateway.rest(token, "POST", "/v1/kyc", { form })).json().id;
}
const events = async (token: string, search = "") => {
  const answer = await gateway.rest(token, "GET", `/v1/events${search}`);
  return { status: answer.statusCode, ...answer.json() };
};
const settled = (token: string, count: number) =>
  expect.poll(async () => (await events(token, "?limit=100")).data.length).toBe(count);

test("the feed has what happened to records, oldest first, page by page", async () => {
  const token = await gateway.token("feed");
  expect(await events(token)).toMatchObject({ object: "list", url: "/v1/events", has_more: false, data: [] });
  const id = await create(token, "c1");
  await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form: { verification_status: "verified" } });
  await gateway.rest(token, "DELETE", `/v1/kyc/${id}`);
  await settled(token, 3);
  const { data } = await events(token);
  expect(data).toMatchObject([
    { object: "event", type: "kyc.created", position: 0, kyc_id: id, previous_verification_status: null },
    { type: "kyc.updated", verification_status: "verified", previous_verification_status: "pending" },
    { type: "kyc.deleted", verification_status: null, previous_verification_status: "verified" },
  ]);
  const first = await events(token, "?limit=2");
  expect(first).toMatchObject({ has_more: true, data: data.slice(0, 2), next_after: data[1].id });
  for (const name of ["after", "starting_after"]) {
    const rest = await events(token, `?${name}=${first.next_after}`);
    expect(rest).toMatchObject({ has_more: false, data: data.slice(2), next_after: data[2].id });
    expect(await events(token, `?${name}=${rest.next_after}`)).toMatchObject({ has_more: false, data: [] });
  }
});

test("Stripe's library pages through the feed", async () => {
  const token = await gateway.token("stripe");
  for (let n = 0; n < 7; n++) await create(token, `c${n}`);
  await settled(token, 7);
  const stripe = new Stripe(token, { host: "127.0.0.1", port, protocol: "http", telemetry: false });
  const seen: number[] = [];
  for await (const event of stripe.events.list({ limit: 3 }))
    seen.push((event as unknown as { position: number }).position);
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test("events that are no changes of records are passed over, and `next_after` passes them for good", async () => {
  const token = await gateway.token("reads");
  await gateway.db.execute(
    `insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
     select 'reads', now(), 't', 't', 'rest', 'r', 'read', '{a}', '{}' from generate_series(1, 450)`,
  );
  await create(token, "c1");
  await settled(token, 1);
  const { data, has_more, next_after } = await events(token);
  expect({ data, has_more }).toMatchObject({
    data: [{ position: 450, type: "kyc.created" }],
    has_more: false,
  });
  expect(next_after).toBe(data[0].id);
});

test("a request reads only so much of the log: a page with `has_more` continues behind thousands of other events", async () => {
  const token = await gateway.token("long");
  const readEvents = (count: number) =>
    gateway.db.execute(
      `insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
       select 'long', now(), 't', 't', 'rest', 'r', 'read', '{a}', '{}' from generate_series(1, ${count})`,
    );
  await create(token, "c1");
  await settled(token, 1);
  await readEvents(5000);
  await create(token, "c2");
  await expect.poll(() => gateway.logs.sizeOf("long"), { timeout: 20_000 }).toBe(5002);
  const statements: string[] = [];
  gateway.db.observe({ waited: () => {}, statementEnded: ({ text }) => statements.push(text) });
  const seen: number[] = [];
  const pages: number[] = [];
  for (let after = "", hasMore = true; hasMore; ) {
    statements.length = 0;
    // It waits only at the end of the log.
    const page = await events(token, `?wait=1${after}`);
    expect(page.error).toBeUndefined();
    seen.push(...page.data.map(({ position }: { position: number }) => position));
    pages.push(page.data.length);
    expect(statements.filter((text) => /join audit_events/.test(text)).length).toBeLessThanOrEqual(20);
    after = `&after=${page.next_after}`;
    hasMore = page.has_more;
  }
  expect(seen).toEqual([0, 5001]);
  expect(pages[0]).toBe(1);
  expect(pages.length).toBeLessThan(5);
});

test.each([
  ["after=x", "after", /not a cursor/],
  ["starting_after=x", "starting_after", /not a cursor/],
  ["after=", "after", /not a cursor/],
  ["after=eA&starting_after=eA", "starting_after", /together/],
  ["wait=31", "wait", /from 0 to 30/],
  ["wait=-1", "wait", /from 0 to 30/],
  ["wait=1.5", "wait", /from 0 to 30/],
  ["limit=0", "limit", /from 1 to 100/],
  ["ending_before=eA", "ending_before", /not a parameter/],
])("%s is refused", async (search, param, message) => {
  const { status, error } = await events(await gateway.token("faults"), `?${search}`);
  expect(status).toBe(400);
  expect(error).toMatchObject({ param, message: expect.stringMatching(message) });
});

test("acts of administration are passed over", async () => {
  const token = await gateway.token("administered");
  const act = { action: "token_created", subject: "tok_0123456789abcdef", at: Date.now() } as const;
  await recordAct(gateway.db, byCommand(), act, "administered");
  const id = await create(token, "c1");
  await recordAct(gateway.db, byGateway(), { ...act, action: "token_revoked" }, "administered");
  await settled(token, 1);
  expect((await events(token)).data).toMatchObject([{ type: "kyc.created", position: 1, kyc_id: id }]);
});

test("a token of another account gets nothing of this one, and its cursor is refused here", async () => {
  const [token, other] = [await gateway.token("mine"), await gateway.token("theirs")];
  await create(token, "c1");
  await settled(token, 1);
  const [{ id }] = (await events(token)).data;
  expect((await events(other)).data).toEqual([]);
  expect((await events(other, `?after=${id}`)).status).toBe(400);
  expect((await events(await gateway.token("mine", ["kyc:write"]))).status).toBe(403);
});

test("with `wait`, the answer comes with the first event, and empty if there is none in time", async () => {
  const token = await gateway.token("waiting");
  const { next_after } = await events(token);
  const began = Date.now();
  expect(await events(token, "?wait=1")).toMatchObject({ data: [], has_more: false, next_after });
  expect(Date.now() - began).toBeGreaterThanOrEqual(950);
  const waiting = events(token, `?wait=30&after=${next_after}`);
  const id = await create(token, "c1");
  expect(await waiting).toMatchObject({ data: [{ kyc_id: id }], has_more: false });
  expect(Date.now() - began).toBeLessThan(10_000);
});

test("who waits takes no place of the requests in progress, and leaves nothing if the client goes", async () => {
  const small = await createTestApp({ MAX_CONCURRENT_REQUESTS: "2", REQUEST_TIMEOUT: "500ms" }, gateway);
  await small.app.listen({ port: 0, host: "127.0.0.1" });
  const token = await gateway.token("places");
  const address = small.app.server.address() as AddressInfo;
  const sockets = [];
  for (let n = 1; n <= 6; n++) {
    const socket = connect(address.port, "127.0.0.1");
    socket.write(`GET /v1/events?wait=30 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`);
    sockets.push(socket);
    await expect.poll(() => small.logs.figures().followers).toBe(n);
  }
  expect((await small.rest(token, "GET", "/v1/kyc")).statusCode).toBe(200);
  // Longer than a request may take.
  await new Promise((resolve) => setTimeout(resolve, 800));
  expect(small.logs.figures().followers).toBe(6);
  for (const socket of sockets) socket.destroy();
  await expect.poll(() => small.logs.figures().followers).toBe(0);
  await small.close();
});

test("a wait ends when the token is revoked", async () => {
  const token = await gateway.token("revoked");
  const waiting = events(token, "?wait=30");
  await expect.poll(() => gateway.logs.figures().followers).toBe(1);
  const [{ id } = { id: "" }] = await gateway.db.execute<{ id: string }>(
    "select id from tokens where account_id = 'revoked'",
  );
  await revokeToken(gateway.db, gateway.keys, id, Date.now(), null);
  expect((await waiting).status).toBe(401);
});

// The last one: nothing can be followed afterwards.
test("a wait ends when the gateway stops", async () => {
  const token = await gateway.token("drained");
  const waiting = events(token, "?wait=30");
  await expect.poll(() => gateway.logs.figures().followers).toBe(1);
  await gateway.logs.close();
  expect(await waiting).toMatchObject({ status: 200, data: [], has_more: false });
});
