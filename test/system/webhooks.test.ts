import { setTimeout as wait } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import { afterEach, expect, test } from "vitest";
import { type ReceivedEvent, startReceiver } from "../support/receiver.ts";
import { createClient, kycFields } from "./support/client.ts";
import {
  CLI,
  freshEnv,
  fullToken,
  type Gateway,
  later,
  runCli,
  start,
  startGateway,
  tidyUp,
} from "./support/gateway.ts";

const RECORDS = 40;
const WRITERS = 4;
/** Another process takes over within 30 s. Milliseconds. */
const TAKEOVER = 30_000;
const ALLOWED = { WEBHOOK_ALLOW_PRIVATE: "127.0.0.0/8" };

afterEach(tidyUp);

/** Adds a webhook with the CLI, and returns its secret and its id. */
async function addWebhook(env: Record<string, string>, url: string, ...more: string[]) {
  const made = await runCli(["webhook", "create", "--account=demo", `--url=${url}`, ...more], env);
  expect(made, made.stderr).toMatchObject({ code: 0 });
  const [, id = ""] = /(whe_\w+) sends to/.exec(made.stderr) ?? [];
  return { secret: made.stdout.trim(), id };
}

/** The positions of each record in the order in which they came first. */
function positionsByRecord(events: readonly ReceivedEvent[]): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const { body } of events) {
    const { kycId, position } = body.data;
    const positions = found.get(kycId) ?? [];
    if (!positions.includes(position)) positions.push(position);
    found.set(kycId, positions);
  }
  return found;
}

test("three replicas that are killed, and receivers that fail, lose no event and keep the order of each record", async () => {
  const env = { ...(await freshEnv("a real database")), ...ALLOWED };
  const gateways: Gateway[] = [];
  for (let n = 0; n < 3; n++) gateways.push(await startGateway(env));
  const token = await fullToken(env);
  // One attempt in ten fails, and the second attempt comes after five seconds.
  let isFailing = true;
  const receivers = await Promise.all(
    [0, 1].map(() =>
      startReceiver((_event, response) => {
        const delay = Math.random() * 20;
        const status = isFailing && Math.random() < 0.1 ? 503 : 204;
        setTimeout(() => response.writeHead(status).end(), delay);
      }),
    ),
  );
  for (const receiver of receivers) later(() => receiver.close());
  const secrets = await Promise.all(receivers.map(({ url }) => addWebhook(env, url)));

  const acknowledged: string[] = [];
  let written = 0;
  const write = async () => {
    while (written < RECORDS) {
      written += 1;
      const client = () => createClient(gateways[Math.floor(Math.random() * 3)]?.url ?? "", token);
      const made = await client()
        .form("POST", "/v1/kyc", kycFields(`c${written}`, "ZQX7731904"))
        .catch(() => undefined);
      if (made?.status !== 201) continue;
      acknowledged.push(made.json.id);
      for (const status of ["in_review", "verified", "expired"]) {
        await client()
          .form("PUT", `/v1/kyc/${made.json.id}`, { verification_status: status })
          .catch(() => wait(100));
      }
    }
  };
  let isOver = false;
  const disturb = async () => {
    for (let round = 0; !isOver && round < 20; round++) {
      await wait(400);
      const at = round % 3;
      const gateway = gateways[at] as Gateway;
      if (round % 4 === 3) {
        process.kill(gateway.pid, "SIGSTOP");
        await wait(1000);
        process.kill(gateway.pid, "SIGCONT");
        continue;
      }
      await gateway.stop(round % 2 === 0 ? "SIGKILL" : "SIGTERM");
      gateways[at] = await startGateway(env);
    }
  };
  const disturbed = disturb();
  await Promise.all(Array.from({ length: WRITERS }, write));
  isOver = true;
  await disturbed;
  isFailing = false;

  const client = createClient(gateways[0]?.url ?? "", token);
  const feed: { kyc_id: string; position: number; id: string }[] = [];
  for (let after = "", more = true; more; ) {
    const { json } = await client.send("GET", `/v1/events?limit=100&wait=1${after}`);
    feed.push(...json.data);
    after = `&after=${json.next_after}`;
    more = json.has_more || json.data.length > 0;
  }
  const expected = new Map<string, number[]>();
  for (const { kyc_id, position } of feed) expected.set(kyc_id, [...(expected.get(kyc_id) ?? []), position]);
  expect(acknowledged.filter((id) => !expected.has(id))).toEqual([]);
  for (const [index, receiver] of receivers.entries()) {
    const seen = () => [...positionsByRecord(receiver.received).values()].flat().length;
    await expect.poll(seen, { timeout: 100_000 }).toBe(feed.length);
    const found = positionsByRecord(receiver.received);
    for (const [kycId, positions] of expected) expect(found.get(kycId)).toEqual(positions);
    const [event] = receiver.received as [ReceivedEvent];
    new Webhook(secrets[index]?.secret ?? "").verify(event.text, event.headers, {});
    expect(JSON.stringify(receiver.received)).not.toMatch(/ZQX7731/);
  }
  for (const { output } of gateways) expect(output()).not.toMatch(/ZQX7731|whsec_/);
}, 240_000);

test("`deliver` never opens the embedded database: it waits for a gateway that does, and joins it", async () => {
  const env = { ...(await freshEnv("the embedded database")), WEBHOOKS: "off" };
  const stopped = start(process.execPath, [CLI, "deliver"], { env });
  const first = start(process.execPath, [CLI, "deliver"], { env });
  await wait(1500);
  expect(await stopped.stop()).toMatchObject({ code: 0 });
  expect(stopped.stdout()).toContain("stopped before it delivered");
  const gateway = await startGateway(env);
  await first.printed(/delivering webhooks/);
  expect(await gateway.stop()).toMatchObject({ code: 0 });
  const next = await startGateway(env);
  expect(await first.stop()).toMatchObject({ code: 0 });
  expect(await next.stop()).toMatchObject({ code: 0 });
}, 120_000);

test("`deliver` delivers for gateways with WEBHOOKS=off; if one is killed in an attempt, another takes over, and a stop ends soon", async () => {
  const env = { ...(await freshEnv("a real database")), ...ALLOWED };
  const gateway = await startGateway({ ...env, WEBHOOKS: "off" });
  const token = await fullToken(env);
  let isHanging = true;
  const receiver = await startReceiver((_event, response) => {
    if (!isHanging) response.writeHead(204).end();
  });
  later(() => receiver.close());
  const { id } = await addWebhook(env, receiver.url, "--events=kyc.created");
  const client = createClient(gateway.url, token);
  await client.form("POST", "/v1/kyc", kycFields("c", "P-1"));
  await wait(1500);
  expect(receiver.received).toEqual([]);

  const first = start(process.execPath, [CLI, "deliver"], { env });
  await expect.poll(() => receiver.received.length, { timeout: 30_000 }).toBe(1);
  const second = start(process.execPath, [CLI, "deliver", "--port=0"], { env });
  const [, probes = ""] = await second.printed(/"url":"(http:[^"]+)"/);
  await second.printed(/delivering webhooks/);
  const probe = createClient(probes, null);
  const stateOf = async (path: string) => (await probe.send("GET", path)).json?.status;
  const metric = async (name: string) => {
    const { text } = await probe.send("GET", "/metrics");
    const line = text.split("\n").find((one) => one.startsWith(`${name} `));
    return Number(line?.slice(name.length));
  };
  await expect.poll(() => stateOf("/ready"), { timeout: 10_000 }).toBe("ready");
  expect(await stateOf("/health")).toBe("ok");
  await expect.poll(() => metric('webhooks{state="enabled"}')).toBe(1);
  expect(await probe.send("GET", "/v1/kyc")).toMatchObject({ status: 404 });
  expect(await probe.send("POST", "/graphql")).toMatchObject({ status: 404 });
  expect(await probe.send("DELETE", "/metrics")).toMatchObject({ status: 405 });
  isHanging = false;
  const killedAt = performance.now();
  await first.stop("SIGKILL");
  await expect.poll(() => receiver.received.length, { timeout: TAKEOVER }).toBe(2);
  expect(performance.now() - killedAt).toBeLessThan(TAKEOVER);

  const list = async () =>
    JSON.parse((await runCli(["webhook", "deliveries", id, "--account=demo", "--json"], env)).stdout);
  await expect
    .poll(list, { timeout: 20_000 })
    .toMatchObject([{ state: "delivered", eventType: "kyc.created" }]);
  expect(await metric('webhook_attempts_total{outcome="delivered"}')).toBe(1);
  expect(await metric("kyc_gateway_ready")).toBe(1);
  expect(await metric('database_pool_connections{state="idle"}')).toBeGreaterThan(0);
  const other = await runCli(["webhook", "show", id, "--account=other"], env);
  expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining(`has no webhook ${id}`) });

  isHanging = true;
  await client.form("POST", "/v1/kyc", kycFields("c", "P-2"));
  await expect.poll(() => receiver.received.length, { timeout: 10_000 }).toBe(3);
  const stopping = second.stop();
  await second.printed(/"stopping"/);
  expect(await stateOf("/ready")).toBe("draining");
  const { code, ms } = await stopping;
  expect(code, second.output()).toBe(0);
  expect(ms).toBeLessThan(10_000);
  isHanging = false;
  const third = start(process.execPath, [CLI, "deliver"], { env });
  await expect.poll(() => receiver.received.length, { timeout: 10_000 }).toBe(4);
  await third.stop();
});

test("on the embedded database the gateway delivers, and the commands manage webhooks while it runs", async () => {
  const env = { ...(await freshEnv("the embedded database")), ...ALLOWED };
  const gateway = await startGateway(env);
  const token = await fullToken(env);
  const receiver = await startReceiver();
  later(() => receiver.close());
  const { id, secret } = await addWebhook(env, receiver.url);
  const client = createClient(gateway.url, token);
  await client.form("POST", "/v1/kyc", kycFields("c", "P-1"));
  await expect.poll(() => receiver.received.length, { timeout: 20_000 }).toBe(1);
  const [event] = receiver.received as [ReceivedEvent];
  expect(new Webhook(secret).verify(event.text, event.headers)).toMatchObject({ type: "kyc.created" });

  const run = async (...args: string[]) => {
    const done = await runCli(["webhook", ...args, "--account=demo"], env);
    expect(done, done.stderr).toMatchObject({ code: 0 });
    return done.stdout.trim();
  };
  expect(await run("rotate", id, "--overlap=1")).toMatch(/^whsec_/);
  await run("disable", id);
  expect(JSON.parse(await run("show", id, "--json"))).toMatchObject({
    state: "disabled",
    disabledReason: "requested",
  });
  await client.form("POST", "/v1/kyc", kycFields("c", "P-2"));
  await run("enable", id);
  await expect.poll(() => receiver.received.length, { timeout: 20_000 }).toBe(2);
  const position = String(event.body.data.position);
  expect(await run("resend", id, "--from", position)).toBe("1");
  await expect.poll(() => receiver.received.length, { timeout: 20_000 }).toBe(3);
  expect(receiver.received[2]?.headers["webhook-id"]).toBe(event.headers["webhook-id"]);
  expect(await run("list")).toContain(id);
  await run("delete", id);
  expect(JSON.parse(await run("list", "--json"))).toEqual([]);
  const refused = await runCli(
    ["webhook", "create", "--account=demo", "--url=https://169.254.169.254/"],
    env,
  );
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("private or local address") });
});
