import { setTimeout as wait } from "node:timers/promises";
import type { InjectOptions } from "fastify";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createTestApp, type TestApp } from "../../support/app.ts";

const CAPACITY = 3;
/** So long that a busy machine does not exceed it where nothing is waited for. Milliseconds. */
const DEADLINE = 2000;
let gateway: TestApp;
let token: string;
let release: () => Promise<void>;

beforeEach(async () => {
  gateway = await createTestApp({
    MAX_CONCURRENT_REQUESTS: String(CAPACITY),
    REQUEST_TIMEOUT: `${DEADLINE} ms`,
  });
  token = await gateway.token("acme");
  // The token is known, so that nothing but the locked records is waited for.
  await gateway.rest(token, "GET", "/v1/kyc");
  release = await lockRecords();
});
afterEach(async () => {
  await release();
  await gateway.close();
});

/** Lets everyone who asks for records wait until they are released. */
async function lockRecords(): Promise<() => Promise<void>> {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let locked = () => {};
  const isLocked = new Promise<void>((resolve) => {
    locked = resolve;
  });
  const transaction = gateway.db.transaction(async (tx) => {
    await tx.execute("lock table kycs in access exclusive mode");
    locked();
    await opened;
  });
  await isLocked;
  return async () => {
    open();
    await transaction;
  };
}

/** Resolves when as many requests as may be in progress wait for the locked records. */
const allWait = () => expect.poll(() => gateway.db.usage().inUse).toBe(1 + CAPACITY);

// Differing requests: equal ones would share one statement, and an answer.
const shed = async (reason: string) => {
  const { body } = await gateway.app.inject({ url: "/metrics" });
  return Number(new RegExp(`^http_requests_shed_total{reason="${reason}"} (\\d+)$`, "m").exec(body)?.[1]);
};

const ask = (n: number) => gateway.rest(token, "GET", `/v1/kyc?limit=${n + 1}`);

describe("a gateway that has as many requests as it may", () => {
  test("refuses others at once with 503 in each surface's shape, and none of its probes", async () => {
    const admitted = [0, 1, 2].map(ask);
    await allWait();
    const asked = performance.now();
    const rest = await ask(3);
    const graphql = await gateway.graphql(token, "{ kycs { totalCount } }");
    expect(performance.now() - asked).toBeLessThan(DEADLINE);
    expect(rest.statusCode).toBe(503);
    expect(rest.headers["retry-after"]).toBe("1");
    expect(rest.json()).toEqual({
      error: { type: "api_error", code: "unavailable", message: expect.stringContaining("more requests") },
    });
    expect(graphql.status).toBe(503);
    expect(graphql.headers["retry-after"]).toBe("1");
    expect(graphql.errors?.[0]?.extensions).toEqual({
      code: "UNAVAILABLE",
      requestId: graphql.headers["request-id"],
    });
    expect(await shed("requests")).toBe(2);
    for (const url of ["/health", "/ready", "/metrics"]) {
      expect((await gateway.app.inject({ url })).statusCode, url).toBe(200);
    }
    await release();
    expect((await Promise.all(admitted)).map(({ statusCode }) => statusCode)).toEqual([200, 200, 200]);
    expect((await ask(0)).statusCode).toBe(200);
  });

  test("refuses with the headers that any other failure has", async () => {
    const send = async (request: InjectOptions) => {
      const headers = { ...request.headers, authorization: `Bearer ${token}` };
      const answer = await gateway.app.inject({ ...request, headers });
      expect(answer.statusCode).toBe(503);
      const { date: _date, "request-id": _id, "content-length": _length, ...rest } = answer.headers;
      return { headers: rest, names: Object.keys(answer.headers), keys: Object.keys(answer.json()) };
    };
    const query = {
      headers: { "content-type": "application/json" },
      payload: { query: "{ kycs { nodes { id } } }" },
    };
    const requests: InjectOptions[] = [
      { method: "GET", url: "/v1/kyc" },
      { method: "POST", url: "/graphql", ...query },
      { method: "GET", url: "/v1/kyc/0000000000000000", headers: { "x-forwarded-proto": "https" } },
    ];
    const late = requests.map(send);
    await allWait();
    const refused = await Promise.all(requests.map(send));
    expect(refused).toEqual(await Promise.all(late));
  });

  test("answers those that wait too long with 503, and has room again when they are over", async () => {
    const asked = performance.now();
    const late = await Promise.all([0, 1, 2].map(ask));
    const took = performance.now() - asked;
    expect(late.map(({ statusCode }) => statusCode)).toEqual([503, 503, 503]);
    expect(late[0]?.headers["retry-after"]).toBe("1");
    expect(await shed("late")).toBe(3);
    expect(took).toBeGreaterThan(DEADLINE - 200);
    expect(took).toBeLessThan(DEADLINE + 3000);
    await release();
    await wait(50);
    expect((await ask(0)).statusCode).toBe(200);
    expect(gateway.logged()).not.toContain("unforeseen");
  });

  test("logs nothing of the address of one that comes to an answer when it was told that it is late", async () => {
    const query = '{ kycs(filter: { documentNumber: "CANARY47110815" }) { nodes { id } } }';
    const late = await gateway.app.inject({
      url: `/graphql?query=${encodeURIComponent(query)}`,
      headers: { authorization: `Bearer ${token}` },
    });
    expect(late.statusCode).toBe(503);
    const { body } = await gateway.app.inject({ url: "/metrics" });
    expect(body).toMatch(/^graphql_\w+_count\{operation="none",outcome="UNAVAILABLE"\} 1$/m);
    await release();
    await expect.poll(() => gateway.logged()).toContain("FST_ERR_REP_ALREADY_SENT");
    expect(gateway.logged()).not.toContain("CANARY47110815");
  });

  test("has room again when clients go away", async () => {
    const url = await gateway.app.listen({ port: 0, host: "127.0.0.1" });
    const abort = new AbortController();
    const headers = { authorization: `Bearer ${token}` };
    const gone = [0, 1, 2].map((n) =>
      fetch(`${url}/v1/kyc?limit=${n + 1}`, { headers, signal: abort.signal }).catch(() => "gone"),
    );
    await allWait();
    expect((await ask(3)).statusCode).toBe(503);
    abort.abort();
    expect(await Promise.all(gone)).toEqual(["gone", "gone", "gone"]);
    await wait(300);
    const again = ask(4);
    await release();
    expect((await again).statusCode).toBe(200);
  });
});

test("a gateway that is too busy to turn to its requests refuses them, probes apart, until it is not", async () => {
  await release();
  await gateway.close();
  gateway = await createTestApp({ MAX_EVENT_LOOP_DELAY: "100 ms" });
  token = await gateway.token("acme");
  const busy = setInterval(() => {
    const until = performance.now() + 300;
    while (performance.now() < until) {}
  }, 1);
  const isShed = async () => (await ask(0)).statusCode === 503 && (await shed("event_loop")) > 0;
  await expect.poll(isShed).toBe(true);
  expect((await gateway.app.inject({ url: "/health" })).statusCode).toBe(200);
  clearInterval(busy);
  await expect.poll(async () => (await ask(0)).statusCode).toBe(200);
});
