import { createPublicKey, verify } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { type ReceivedEvent, type Receiver, startReceiver } from "../support/receiver.ts";
import { createRecord } from "../support/records.ts";
import { addWebhook, SHORT_TIMING, startTestDeliverer, type TestDeliverer } from "../support/webhooks.ts";

let gateway: TestApp;
let deliverer: TestDeliverer;
let token: string;
let account: string;
const receivers: Receiver[] = [];

beforeAll(async () => {
  gateway = await createTestApp({ WEBHOOK_ALLOW_PRIVATE: "127.0.0.0/8" });
  deliverer = startTestDeliverer(gateway);
});
afterAll(async () => {
  await deliverer.stop();
  await gateway.close();
});
let count = 0;
/** A new account with a receiver. */
async function start(...args: Parameters<typeof startReceiver>) {
  count += 1;
  account = `account-${count}`;
  token = await gateway.token(account);
  const receiver = await startReceiver(...args);
  receivers.push(receiver);
  return receiver;
}
afterEach(async () => {
  await gateway.db.execute("delete from webhook_endpoints");
  for (const receiver of receivers.splice(0)) await receiver.close();
});

const change = (id: string, status: string) =>
  gateway.graphql(
    token,
    `mutation { updateKyc(input: { id: "${id}", verificationStatus: ${status} }) { kyc { id } } }`,
  );
const remove = (id: string) =>
  gateway.graphql(token, `mutation { deleteKyc(input: { id: "${id}" }) { deletedId } }`);
const until = (check: () => unknown) => expect.poll(check, { timeout: 10_000, interval: 10 });
const positionsOf = (events: readonly ReceivedEvent[]) => events.map(({ body }) => body.data.position);

test("a change arrives signed, with its position, that of the change before, and the statuses, and without other values", async () => {
  const receiver = await start();
  const { secret, endpoint } = await addWebhook(gateway, account, receiver.url);
  const id = await createRecord(gateway, token, {
    documentNumber: "ZQX7731904",
    customerId: "customer-of-canary",
  });
  await change(id, "VERIFIED");
  await remove(id);
  await until(() => receiver.received.length).toBe(3);
  const [created, updated, deleted] = receiver.received.map(({ body }) => body);
  const common = { kycId: id };
  expect([created.type, updated.type, deleted.type]).toEqual(["kyc.created", "kyc.updated", "kyc.deleted"]);
  expect(created.data).toEqual({
    ...{ ...common, position: expect.any(Number), previousPosition: null, action: "created" },
    ...{ statusBefore: null, statusAfter: "pending", versionAfter: 1 },
  });
  expect(updated.data).toMatchObject({
    ...{ ...common, previousPosition: created.data.position, action: "updated" },
    ...{ statusBefore: "pending", statusAfter: "verified", versionAfter: 2 },
  });
  expect(deleted.data).toMatchObject({ previousPosition: updated.data.position, statusAfter: null });
  for (const { headers, text } of receiver.received) {
    expect(new Webhook(secret).verify(text, headers)).toEqual(JSON.parse(text));
    expect(JSON.stringify(headers) + text).not.toMatch(/zqx7731|7731904|canary/i);
    const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${text}`;
    const raw = Buffer.from(endpoint.publicKey.replace("whpk_", ""), "base64");
    const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]);
    const key = createPublicKey({ key: spki, format: "der", type: "spki" });
    const [, signature = ""] = /v1a,(\S+)/.exec(headers["webhook-signature"] ?? "") ?? [];
    expect(verify(null, Buffer.from(signed), key, Buffer.from(signature, "base64"))).toBe(true);
  }
  const ids = receiver.received.map(({ headers }) => headers["webhook-id"]);
  expect(new Set(ids).size).toBe(3);
  const feed = await gateway.rest(token, "GET", "/v1/events");
  expect(feed.json().data.map((event: { id: string }) => event.id)).toEqual(ids);
});

test("the change before is found behind any number of audited reads", async () => {
  const receiver = await start();
  await addWebhook(gateway, account, receiver.url);
  const id = await createRecord(gateway, token);
  const read = (times: number) =>
    gateway.db.execute(
      `with event as (
         insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
         select $1, now(), 'tok_1', 'reader', 'rest', 'req_' || n, 'read', array[$2], '{}' from generate_series(1, $3::int) n
         returning account_id, kyc_ids[1] as kyc_id, sequence
       )
       insert into audit_event_records (account_id, kyc_id, sequence) select account_id, kyc_id, sequence from event`,
      [account, id, times],
    );
  await read(900);
  await change(id, "VERIFIED");
  await until(() => receiver.received.length).toBe(2);
  await read(5000);
  await change(id, "FAILED");
  await until(() => receiver.received.length).toBe(3);
  const [created, changed] = positionsOf(receiver.received);
  expect(receiver.received.map(({ body }) => body.data.previousPosition)).toEqual([null, created, changed]);
});

test("only the wanted types arrive", async () => {
  const receiver = await start();
  await addWebhook(gateway, account, receiver.url, ["kyc.deleted"]);
  for (let n = 0; n < 3; n++) await remove(await createRecord(gateway, token));
  await until(() => receiver.received.length).toBe(3);
  expect(receiver.received.map(({ body }) => body.type)).toEqual(Array(3).fill("kyc.deleted"));
});

test("a failure holds back the later changes of its record alone, and they arrive in order", async () => {
  let failing = "";
  const receiver = await start(({ body }, response) => {
    response.writeHead(body.data.kycId === failing ? 500 : 200).end();
  });
  await addWebhook(gateway, account, receiver.url);
  failing = await createRecord(gateway, token);
  await until(() => receiver.received.length).toBeGreaterThan(0);
  const held = failing;
  await change(held, "VERIFIED");
  await change(held, "EXPIRED");
  const other = await createRecord(gateway, token);
  await change(other, "FAILED");
  const ofRecord = (id: string) => receiver.received.filter(({ body }) => body.data.kycId === id);
  await until(() => ofRecord(other).length).toBe(2);
  expect(new Set(ofRecord(held).map(({ body }) => body.data.action))).toEqual(new Set(["created"]));
  failing = "";
  await until(() => ofRecord(held).at(-1)?.body.data.statusAfter).toBe("expired");
  const seen = [...new Set(positionsOf(ofRecord(held)))];
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(seen).toHaveLength(3);
  const ids = new Set(ofRecord(held).map(({ headers }) => headers["webhook-id"]));
  expect(ids.size).toBe(3);
});

test("an event that fails all its attempts while others arrive is given up, and can be sent again", async () => {
  let failing = "";
  const receiver = await start(({ body }, response) => {
    response.writeHead(body.data.kycId === failing ? 503 : 200).end();
  });
  const { endpoint } = await addWebhook(gateway, account, receiver.url);
  failing = "unknown yet";
  const id = await createRecord(gateway, token);
  failing = id;
  await until(() => receiver.received.length).toBe(1);
  await change(id, "VERIFIED");
  const QUERY = `{ webhook(id: "${endpoint.id}") { disabledAt deliveries(filter: { state: FAILED }) { totalCount nodes {
    position kycId attempts lastStatus lastResult state } } } }`;
  const failed = async () => (await gateway.graphql(token, QUERY)).data.webhook;
  await until(async () => {
    await createRecord(gateway, token);
    return (await failed()).deliveries.totalCount;
  }).toBe(1);
  const webhook = await failed();
  expect(webhook.disabledAt).toBeNull();
  const [node] = webhook.deliveries.nodes;
  expect(node).toMatchObject({
    kycId: id,
    attempts: 6,
    lastStatus: 503,
    lastResult: "answered 503",
    state: "FAILED",
  });
  failing = "";
  const resend = `mutation { resendWebhookEvents(input: { id: "${endpoint.id}", from: ${node.position}, to: ${node.position}, onlyFailed: true }) { events } }`;
  expect((await gateway.graphql(token, resend)).data.resendWebhookEvents).toEqual({ events: 1 });
  const accepted = () =>
    positionsOf(receiver.received).filter((position) => position === node.position).length;
  await until(accepted).toBe(7);
  await until(async () => (await failed()).deliveries.totalCount).toBe(0);
});

test("410 disables a webhook, and so do all attempts without any success; once enabled, it continues without a gap", async () => {
  let status = 410;
  const receiver = await start((_event, response) => response.writeHead(status).end());
  const { endpoint } = await addWebhook(gateway, account, receiver.url);
  const QUERY = `{ webhook(id: "${endpoint.id}") { disabledReason } }`;
  const reason = async () => (await gateway.graphql(token, QUERY)).data.webhook.disabledReason;
  const id = await createRecord(gateway, token);
  await until(reason).toBe("GONE");
  expect(receiver.received).toHaveLength(1);
  await change(id, "VERIFIED");
  const enable = `mutation { enableWebhook(input: { id: "${endpoint.id}" }) { webhook { disabledAt } } }`;
  status = 500;
  expect((await gateway.graphql(token, enable)).data.enableWebhook.webhook.disabledAt).toBeNull();
  await until(reason).toBe("FAILING");
  await change(id, "EXPIRED");
  status = 200;
  receiver.received.splice(0);
  await gateway.graphql(token, enable);
  await until(() => receiver.received.length).toBe(3);
  expect(receiver.received.map(({ body }) => body.data.statusAfter)).toEqual([
    "pending",
    "verified",
    "expired",
  ]);
  const acts = await gateway.graphql(
    token,
    "{ auditEvents(first: 20) { nodes { action surface subject } } }",
  );
  const actions = acts.data.auditEvents.nodes
    .filter(({ subject }: { subject: string | null }) => subject === endpoint.id)
    .map(({ action, surface }: { action: string; surface: string }) => `${action} ${surface}`);
  expect(actions.reverse()).toEqual([
    ...["WEBHOOK_CREATED CLI", "WEBHOOK_DISABLED GATEWAY", "WEBHOOK_ENABLED GRAPHQL"],
    ...["WEBHOOK_DISABLED GATEWAY", "WEBHOOK_ENABLED GRAPHQL"],
  ]);
});

test("each of several secrets signs until its own time, and four old ones at most", async () => {
  const receiver = await start();
  const { endpoint, secret } = await addWebhook(gateway, account, receiver.url);
  const rotate = (hours: number) =>
    gateway.graphql(
      token,
      `mutation { rotateWebhookSecret(input: { id: "${endpoint.id}", overlapHours: ${hours} }) { secret webhook { previousSecretUntil } } }`,
    );
  const second = (await rotate(1)).data.rotateWebhookSecret;
  await createRecord(gateway, token);
  await until(() => receiver.received.length).toBe(1);
  const [both] = receiver.received as [ReceivedEvent];
  for (const one of [secret, second.secret]) new Webhook(one).verify(both.text, both.headers);
  const more: string[] = [];
  for (const hours of [30, 2, 3]) more.push((await rotate(hours)).data.rotateWebhookSecret.secret);
  const { errors } = await rotate(1);
  expect(errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
  await createRecord(gateway, token);
  await until(() => receiver.received.length).toBe(2);
  const all = receiver.received.pop() as ReceivedEvent;
  for (const one of [secret, second.secret, ...more]) new Webhook(one).verify(all.text, all.headers);
  const third = (await rotate(0)).data.rotateWebhookSecret;
  expect(third.webhook.previousSecretUntil).toBeNull();
  await createRecord(gateway, token);
  await until(() => receiver.received.length).toBe(2);
  const one = receiver.received[1] as ReceivedEvent;
  new Webhook(third.secret).verify(one.text, one.headers);
  for (const old of [secret, second.secret, ...more])
    expect(() => new Webhook(old).verify(one.text, one.headers)).toThrow();
  const stored = JSON.stringify(await gateway.db.execute("select * from webhook_endpoints"));
  for (const old of [secret, second.secret, third.secret]) expect(stored).not.toContain(old.slice(6, 30));
});

test("a new URL and a disabling hold for the next attempt, while others of the webhook are in progress", async () => {
  const timing = { ...SHORT_TIMING, lookMs: 1000, timeoutMs: 20_000 };
  await deliverer.stop();
  deliverer = startTestDeliverer(gateway, { timing });
  const other = await start();
  const slow = await start(() => {});
  const { endpoint } = await addWebhook(gateway, account, slow.url);
  await createRecord(gateway, token);
  await until(() => slow.received.length).toBe(1);
  const manage = (mutation: string) => gateway.graphql(token, `mutation { ${mutation} { webhook { id } } }`);
  await manage(`updateWebhook(input: { id: "${endpoint.id}", url: "${other.url}" })`);
  await createRecord(gateway, token);
  await until(() => other.received.length).toBe(1);
  expect(slow.received).toHaveLength(1);
  await manage(`disableWebhook(input: { id: "${endpoint.id}" })`);
  await createRecord(gateway, token);
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect([slow.received.length, other.received.length]).toEqual([1, 1]);
});

test("outcomes are written although the database refuses it for a moment", async () => {
  const receiver = await start();
  await gateway.db.execute(`create function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'no' using errcode = 'deadlock_detected'; end $$`);
  await gateway.db.execute(`create trigger refuse before update of last_status on webhook_deliveries
    for each row execute function refuse()`);
  await addWebhook(gateway, account, receiver.url);
  await createRecord(gateway, token);
  await until(() => receiver.received.length).toBe(1);
  await gateway.db.execute("drop function refuse cascade");
  await until(
    async () =>
      (
        await gateway.db.execute(
          "select from webhook_deliveries where account_id = $1 and state = 'delivered'",
          [account],
        )
      ).length,
  ).toBe(1);
  expect(receiver.received).toHaveLength(1);
});

test("receivers that hang, of whole accounts, do not keep events from the receivers of others", async () => {
  const hanging = await start(() => {});
  const good = await start();
  const own = await createTestApp({ WEBHOOK_ALLOW_PRIVATE: "127.0.0.0/8" });
  // No attempt ends before the test does, so that an event that waits for the end of one never arrives.
  const timing = { ...SHORT_TIMING, timeoutMs: 600_000, lookMs: 200 };
  const ownDeliverer = startTestDeliverer(own, { timing });
  try {
    for (const name of ["hanging-1", "hanging-2"]) {
      for (let n = 0; n < 18; n++) await addWebhook(own, name, hanging.url);
      const by = await own.token(name);
      for (let n = 0; n < 8; n++) await createRecord(own, by);
    }
    // Until they have as many of the 32 endpoints at once, with eight attempts each, as they get.
    let before = 0;
    const isSettled = () => {
      const [last, size] = [before, hanging.connections.size];
      before = size;
      return size > 128 && size === last;
    };
    await expect.poll(isSettled, { timeout: 30_000, interval: 500 }).toBe(true);
    await addWebhook(own, "other", good.url);
    await createRecord(own, await own.token("other"));
    await until(() => good.received.length).toBe(1);
    await until(() => ownDeliverer.outcomes).toEqual(["delivered"]);
  } finally {
    await ownDeliverer.stop();
    await own.close();
  }
});
