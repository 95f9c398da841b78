import { setTimeout as wait } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CREATE_KYC, createClient, kycFields } from "./support/client.ts";
import { cuttableDatabase } from "./support/database-proxy.ts";
import {
  ENGINES,
  type Env,
  freshEnv,
  fullToken,
  type Gateway,
  startGateway,
  tidyUp,
} from "./support/gateway.ts";
import { keepAsking, type LoadRequest, openConnection } from "./support/keep-alive.ts";

const CLIENTS = 30;
/** The documented maximum. Milliseconds. */
const PROMISED = 10_000;
/** An exit that waits for nothing but the grace of idle connections. Milliseconds. */
const QUICK = 3000;

describe.each(ENGINES)("a gateway on %s that is told to stop", (engine) => {
  let env: Env;
  let token: string;
  let gateway: Gateway;
  let first: Gateway | undefined;

  beforeAll(async () => {
    env = await freshEnv(engine);
    first = await startGateway(env);
    token = await fullToken(env);
  });
  beforeEach(async () => {
    gateway = first ?? (await startGateway(env));
    first = undefined;
  });
  afterEach(async () => {
    await gateway.stop("SIGKILL");
  });
  afterAll(tidyUp);

  test.each(["SIGTERM", "SIGINT"] as const)("answers all that was sent under load: %s", async (signal) => {
    const client = createClient(gateway.url, token);
    const known = (await client.form("POST", "/v1/kyc", kycFields("known", "K-1"))).json.id;
    const sessions = Array.from({ length: CLIENTS }, (_, n) =>
      keepAsking(gateway.url, loadOf(n, token, known), { pause: n % 3 === 0 ? 100 : 0, deadline: 15_000 }),
    );
    await wait(1000);
    const exit = await gateway.stop(signal);
    const results = await Promise.all(sessions);

    expect(results.flatMap((session) => session.failures)).toEqual([]);
    expect(results.filter((session) => session.answered === 0)).toEqual([]);
    expect(results.filter((session) => !session.saidGoodbye)).toEqual([]);
    expect(exit.code).toBe(0);
    expect(exit.ms).toBeLessThan(PROMISED);
    expect(gateway.stdout()).not.toContain("were cut");
  });

  test("is not ready while it drains, takes no new connection, and finishes a slow upload", async () => {
    const slow = await openConnection(gateway.url);
    const probe = await openConnection(gateway.url);
    probe.write("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
    await probe.reads(/^HTTP\/1\.1 200 /);
    const upload = slowUpload(token);
    slow.write(upload.start);
    await wait(100);

    const exiting = gateway.stop("SIGTERM");
    await gateway.printed(/"stopping"/);
    probe.write("GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
    await probe.reads(/HTTP\/1\.1 503 [\s\S]*"draining"/);
    expect(probe.received()).toMatch(/HTTP\/1\.1 503 [\s\S]*\r\nconnection: close\r\n/i);
    await probe.ended();
    await nothingListens(gateway);

    await wait(1500);
    // A service manager that signals a whole group, npm included, reaches the gateway twice.
    process.kill(gateway.pid, "SIGTERM");
    await wait(100);
    slow.write(upload.end);
    await slow.reads(/^HTTP\/1\.1 201 [\s\S]*"slow-upload"/);
    const answeredAt = performance.now();
    await slow.ended();
    expect(await exiting).toMatchObject({ code: 0 });
    // Nothing is left to wait for: the connection of the last answer must not hold the exit up.
    expect(performance.now() - answeredAt).toBeLessThan(QUICK);
    expect(gateway.stdout()).not.toContain("were cut");
  });

  test("answers what came while it had no turn to read it, though the connection counts as idle", async () => {
    const used = await openConnection(gateway.url);
    const ask = () => used.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    ask();
    await used.reads(/^HTTP\/1\.1 200 [\s\S]*"ok"/);
    const exiting = gateway.stop("SIGTERM");
    await nothingListens(gateway);
    process.kill(gateway.pid, "SIGSTOP");
    ask();
    // Longer than idle connections are left open: when it goes on, their end is due before anything is read.
    await wait(1000);
    process.kill(gateway.pid, "SIGCONT");
    await used.reads(/"ok"[\s\S]*HTTP\/1\.1 200 [\s\S]*connection: close[\s\S]*"ok"/i);
    expect(await exiting).toMatchObject({ code: 0 });
  });

  test("exits quickly with idle connections open, used ones and such that never were", async () => {
    const unused = await openConnection(gateway.url);
    const used = await openConnection(gateway.url);
    used.write("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    await used.reads(/^HTTP\/1\.1 200 [\s\S]*"ok"/);
    const exit = await gateway.stop("SIGTERM");
    expect(exit).toMatchObject({ code: 0 });
    expect(exit.ms).toBeLessThan(QUICK);
    await unused.ended();
    await used.ended();
  });
});

describe.concurrent("a gateway that can't finish what it was asked", () => {
  afterAll(tidyUp);

  test("cuts an upload that never ends, in time, and says so", async () => {
    const env = await freshEnv("a real database");
    const gateway = await startGateway(env);
    const slow = await openConnection(gateway.url);
    slow.write(slowUpload(await fullToken(env)).start);
    await wait(100);
    const exit = await gateway.stop("SIGTERM");
    expect(exit).toMatchObject({ code: 0 });
    expect(exit.ms).toBeLessThan(PROMISED);
    await slow.ended();
    expect(gateway.stdout()).toContain("were cut");
  });

  test("stops in time if its database has disappeared", async () => {
    const { env, cut } = await cuttableDatabase();
    const gateway = await startGateway(env);
    await cut();
    expect((await createClient(gateway.url, null).send("GET", "/ready")).status).toBe(503);
    const exit = await gateway.stop("SIGTERM");
    expect(exit).toMatchObject({ code: 0 });
    expect(exit.ms).toBeLessThan(QUICK);
  });

  test("stops in time when its database no longer answers", async () => {
    const { env, freeze } = await cuttableDatabase();
    const gateway = await startGateway(env);
    const client = createClient(gateway.url, await fullToken(env));
    // Its seals are not yet added to the database's count.
    expect((await client.form("POST", "/v1/kyc", kycFields("sealed", "S-2"))).status).toBe(201);
    freeze();
    const hanging = client.form("POST", "/v1/kyc", kycFields("hanging", "H-1")).catch(() => "cut");
    await wait(200);
    const exit = await gateway.stop("SIGTERM");
    expect(exit).toMatchObject({ code: 0 });
    expect(exit.ms).toBeLessThan(PROMISED);
    await hanging;
  });
});

/** A gateway that has only just started takes connections until all that listens for it has been handed over. */
async function nothingListens({ url }: Gateway): Promise<void> {
  const another = () => openConnection(url).then(String, ({ code }) => code);
  await expect.poll(another).toBe("ECONNREFUSED");
}

/** A request whose body stops in the middle, and the remainder. */
function slowUpload(token: string): { start: string; end: string } {
  const body = new URLSearchParams(kycFields("slow-upload", "S-1")).toString();
  const head = [
    "POST /v1/kyc HTTP/1.1",
    "Host: x",
    `Authorization: Bearer ${token}`,
    "Content-Type: application/x-www-form-urlencoded",
    `Content-Length: ${body.length}`,
  ].join("\r\n");
  return { start: `${head}\r\n\r\n${body.slice(0, 10)}`, end: body.slice(10) };
}

/** Reads and writes on both surfaces, in an order of each client's own. */
function loadOf(client: number, token: string, known: string): (n: number) => LoadRequest {
  const headers = (type: string) => ({ authorization: `Bearer ${token}`, "content-type": type });
  const form = headers("application/x-www-form-urlencoded");
  const json = headers("application/json");
  const expecting = (status: number, part: string) => (got: number, text: string) =>
    got === status && text.includes(part) && isJson(text) ? null : `${got} instead of ${status}: ${text}`;
  return (n) => {
    const number = `L-${client}-${n}`;
    const kinds: LoadRequest[] = [
      {
        ...{ method: "POST", path: "/v1/kyc", headers: form },
        body: new URLSearchParams(kycFields("load", number)).toString(),
        judge: expecting(201, `"${number}"`),
      },
      {
        ...{ method: "POST", path: "/graphql", headers: json },
        body: JSON.stringify({
          query: CREATE_KYC,
          variables: { customerId: "load", documentNumber: number },
        }),
        judge: (status, text) =>
          text.includes('"errors"') ? text : expecting(200, `"${number}"`)(status, text),
      },
      {
        ...{ method: "GET", path: `/v1/kyc/${known}`, headers: form, body: "" },
        judge: expecting(200, '"K-1"'),
      },
      {
        ...{ method: "POST", path: "/graphql", headers: json },
        body: JSON.stringify({
          query: "{ kycs(first: 20) { nodes { id documentNumber } pageInfo { hasNextPage } } }",
        }),
        judge: expecting(200, '"hasNextPage"'),
      },
    ];
    return kinds[(client + n) % kinds.length] as LoadRequest;
  };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
