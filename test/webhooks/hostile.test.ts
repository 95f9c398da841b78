import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../support/app.ts";
import { type Receiver, startReceiver } from "../support/receiver.ts";
import { createRecord } from "../support/records.ts";
import { addWebhook, startTestDeliverer, type TestDeliverer } from "../support/webhooks.ts";
import { makeCertificate } from "../system/support/tls.ts";

/** A text that receivers answer, and that nothing of the gateway may contain. */
const LEAK = "LEAKED-ZQX7731904";

let gateway: TestApp;
let deliverer: TestDeliverer;
let folder: string;
const receivers: Receiver[] = [];
const servers: Server[] = [];

beforeAll(async () => {
  gateway = await createTestApp();
  deliverer = startTestDeliverer(gateway);
  folder = await mkdtemp(join(tmpdir(), "kyc-hostile-"));
});
afterAll(async () => {
  await deliverer.stop();
  await gateway.close();
  await rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  await gateway.db.execute("delete from webhook_endpoints");
  await gateway.db.execute("delete from webhook_deliveries");
  for (const receiver of receivers.splice(0)) await receiver.close();
  for (const server of servers.splice(0)) server.close();
});

const until = (check: () => unknown) => expect.poll(check, { timeout: 10_000, interval: 10 });
let count = 0;

/** A receiver that is hostile for one record and accepts all others. */
async function startHostile(
  answer: (...args: Parameters<NonNullable<Parameters<typeof startReceiver>[0]>>) => void,
) {
  const state = { hostileTo: "" };
  const receiver = await startReceiver((event, response, request) => {
    if (event.body.data.kycId === state.hostileTo) answer(event, response, request);
    else response.writeHead(204).end();
  });
  receivers.push(receiver);
  return { receiver, state };
}

/** Sends a change of one record to its hostile answer, and then others, which must arrive. Returns the stored delivery. */
async function expectOnlyOneToWait({ receiver, state }: Awaited<ReturnType<typeof startHostile>>) {
  count += 1;
  const account = `account-${count}`;
  const token = await gateway.token(account);
  const first = await createRecord(gateway, token);
  const { endpoint } = await addWebhook(gateway, account, `${receiver.url}?token=in-the-query`);
  state.hostileTo = first;
  const update = `mutation { updateKyc(input: { id: "${first}", verificationStatus: VERIFIED }) { kyc { id } } }`;
  await gateway.graphql(token, update);
  const stored = async () =>
    (
      await gateway.db.execute<{
        attempts: number;
        last_status: number | null;
        last_result: string;
        state: string;
      }>(
        "select * from webhook_deliveries where kyc_id = $1 and endpoint_id = $2 order by attempts desc, position limit 1",
        [first, endpoint.id],
      )
    )[0];
  await until(async () => (await stored())?.attempts ?? 0).toBeGreaterThan(0);
  const others: string[] = [];
  for (let n = 0; n < 5; n++) others.push(await createRecord(gateway, token));
  await until(() => {
    const seen = new Set(receiver.received.map(({ body }) => body.data.kycId));
    return others.every((id) => seen.has(id));
  }).toBe(true);
  const everything = JSON.stringify([
    await gateway.db.execute("select * from webhook_deliveries"),
    await gateway.db.execute(
      "select last_success_at, failing_since, disabled_because from webhook_endpoints",
    ),
    deliverer.lines,
  ]);
  expect(everything).not.toContain("LEAKED");
  expect(JSON.stringify(deliverer.lines)).not.toContain("in-the-query");
  return { delivery: await stored(), first };
}

test("a redirect to the loopback is a failure, and is not followed", async () => {
  const target = await startReceiver();
  receivers.push(target);
  const hostile = await startHostile((_event, response) =>
    response.writeHead(307, { location: target.url, "content-type": "text/plain" }).end(LEAK),
  );
  const { delivery } = await expectOnlyOneToWait(hostile);
  expect(delivery).toMatchObject({ last_status: 307, last_result: "answered 307", state: "pending" });
  expect(target.received).toEqual([]);
});

test("500 with a body leaves nothing but the status", async () => {
  const hostile = await startHostile((_event, response) => response.writeHead(500, LEAK).end(LEAK));
  expect((await expectOnlyOneToWait(hostile)).delivery).toMatchObject({ last_result: "answered 500" });
});

test("429 with Retry-After is not sent again before then", async () => {
  const hostile = await startHostile((_event, response) =>
    response.writeHead(429, { "retry-after": "1" }).end(),
  );
  const { first } = await expectOnlyOneToWait(hostile);
  const times = () =>
    hostile.receiver.received.filter(({ body }) => body.data.kycId === first).map(({ at }) => at);
  await until(() => times().length).toBeGreaterThan(1);
  const [one = 0, two = 0] = times();
  expect(two - one).toBeGreaterThan(950);
});

test("a Retry-After of years is bounded by a day", async () => {
  const hostile = await startHostile((_event, response) =>
    response.writeHead(503, { "retry-after": "999999999" }).end(),
  );
  await expectOnlyOneToWait(hostile);
  const [row] = await gateway.db.execute<{ hours: number }>(
    "select date_part('epoch', max(next_attempt_at) - now())::float8 / 3600 as hours from webhook_deliveries where state = 'pending'",
  );
  expect(row?.hours).toBeGreaterThan(23);
  expect(row?.hours).toBeLessThan(30);
});

test("one that never answers has its time, and its connection is closed", async () => {
  const hostile = await startHostile(() => {});
  const { delivery } = await expectOnlyOneToWait(hostile);
  expect(delivery).toMatchObject({ last_status: null, last_result: "got no answer within 0.3 s" });
  await gateway.db.execute("delete from webhook_deliveries");
  await until(() => hostile.receiver.connections.size).toBe(0);
});

test("headers that drip byte by byte have the same time in all", async () => {
  const hostile = await startHostile((_event, response, request) => {
    const socket = request.socket;
    socket.write("HTTP/1.1 200 OK\r\n");
    const timer = setInterval(() => socket.write("x"), 20);
    socket.on("close", () => clearInterval(timer));
    void response;
  });
  const { delivery } = await expectOnlyOneToWait(hostile);
  expect(delivery).toMatchObject({ last_status: null, last_result: "got no answer within 0.3 s" });
});

test("a body that drips, or has 10 MB, or endless headers, is cut, and the status counts", async () => {
  let sent = 0;
  const big = await startHostile((_event, response) => {
    response.writeHead(500);
    response.on("error", () => {});
    const chunk = Buffer.alloc(64 * 1024, LEAK);
    const write = () => {
      while (sent < 10 * 1024 * 1024 && !response.destroyed && response.write(chunk)) sent += chunk.length;
      if (sent < 10 * 1024 * 1024 && !response.destroyed) response.once("drain", write);
    };
    write();
  });
  expect((await expectOnlyOneToWait(big)).delivery).toMatchObject({ last_result: "answered 500" });
  const drip = await startHostile((_event, response) => {
    response.writeHead(200, { "content-length": "100000" });
    const timer = setInterval(() => response.write("x"), 20);
    response.on("close", () => clearInterval(timer));
  });
  expect((await expectOnlyOneToWait(drip)).delivery).toMatchObject({ state: "delivered" });
  await until(() => drip.receiver.connections.size).toBe(0);
  const headers = await startHostile((_event, _response, request) => {
    request.socket.write(`HTTP/1.1 200 OK\r\n${`x-leak: ${LEAK}${"y".repeat(500)}\r\n`.repeat(100)}\r\n`);
  });
  expect((await expectOnlyOneToWait(headers)).delivery).toMatchObject({
    last_result: "answered with too many headers",
  });
}, 40_000);

test("what is no HTTP, and a connection that is closed at once, fail in words of our own", async () => {
  for (const [greeting, result] of [
    [`220 ${LEAK} SMTP\r\n`, "gave no valid answer of HTTP"],
    ["", "closed the connection without an answer"],
  ] as const) {
    const server = createServer((socket: Socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end(greeting));
    });
    servers.push(server);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as { port: number };
    count += 1;
    const account = `account-${count}`;
    await addWebhook(gateway, account, `http://127.0.0.1:${port}/`);
    await createRecord(gateway, await gateway.token(account));
    const rows = () =>
      gateway.db.execute<{ last_result: string | null }>(
        `select last_result from webhook_deliveries where account_id = '${account}'`,
      );
    await until(async () => (await rows())[0]?.last_result ?? null).toBe(result);
  }
  expect(JSON.stringify(deliverer.lines)).not.toContain("LEAKED");
});

test("a certificate of an unknown authority, or of another name, is refused, and a good one is accepted", async () => {
  const files = await makeCertificate(folder, "one");
  const tls = { cert: readFileSync(files.cert), key: readFileSync(files.key) };
  const receiver = await startReceiver(undefined, tls);
  receivers.push(receiver);
  const lastResult = async (url: string) => {
    count += 1;
    const account = `account-${count}`;
    await addWebhook(gateway, account, url);
    await createRecord(gateway, await gateway.token(account));
    const rows = () =>
      gateway.db.execute<{ last_result: string | null }>(
        `select last_result from webhook_deliveries where account_id = '${account}'`,
      );
    await until(async () => (await rows())[0]?.last_result ?? null).not.toBeNull();
    return (await rows())[0]?.last_result;
  };
  const named = `https://localhost:${receiver.port}/`;
  expect(await lastResult(named)).toBe("has a certificate of no known authority");
  expect(receiver.received).toEqual([]);
  await gateway.db.execute("delete from webhook_endpoints");
  await deliverer.stop();
  const ca = readFileSync(files.authority, "utf8");
  const lookup: NonNullable<Parameters<typeof startTestDeliverer>[1]>["lookup"] = (
    _name,
    _options,
    callback,
  ) => callback(null, [{ address: "127.0.0.1", family: 4 }]);
  deliverer = startTestDeliverer(gateway, { ca, lookup });
  expect(await lastResult(receiver.url)).toBe("has a certificate of another name");
  expect(await lastResult(named)).toBe("answered 204");
});

test("a stop during attempts that hang ends soon, and what was in progress is sent again by another process", async () => {
  let isHanging = true;
  const receiver = await startReceiver((_event, response) => {
    if (!isHanging) response.writeHead(204).end();
  });
  receivers.push(receiver);
  await addWebhook(gateway, "stopped", receiver.url);
  const token = await gateway.token("stopped");
  for (let n = 0; n < 12; n++) await createRecord(gateway, token);
  await until(() => receiver.received.length).toBeGreaterThan(3);
  const from = performance.now();
  await deliverer.stop();
  expect(performance.now() - from).toBeLessThan(3000);
  isHanging = false;
  receiver.received.splice(0);
  deliverer = startTestDeliverer(gateway);
  await until(() => new Set(receiver.received.map(({ body }) => body.data.position)).size).toBe(12);
});

test("without a webhook, nothing is done for an event, and there is one look now and then", async () => {
  await deliverer.stop();
  const texts: string[] = [];
  const stopObserving = gateway.db.observe({
    statementEnded: ({ text }) => void (text.includes("webhook_") && texts.push(text)),
  });
  deliverer = startTestDeliverer(gateway);
  const token = await gateway.token("quiet");
  const startedAt = performance.now();
  for (let n = 0; n < 20; n++) await createRecord(gateway, token);
  const looks = (performance.now() - startedAt) / 90 + 2;
  stopObserving();
  expect(texts.length).toBeLessThanOrEqual(looks);
  expect(new Set(texts).size).toBeLessThanOrEqual(1);
});
