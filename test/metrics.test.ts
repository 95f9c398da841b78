import fc from "fast-check";
import { Histogram as PromHistogram, Registry } from "prom-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Histogram } from "../src/lib/histogram.ts";
import { createMetrics } from "../src/metrics.ts";
import { createTestApp, type TestApp } from "./support/app.ts";
import { POOL_SIZE } from "./support/database.ts";

let gateway: TestApp;
beforeAll(async () => {
  gateway = await createTestApp();
});
afterAll(() => gateway.close());

async function read(name: string): Promise<number> {
  const { body } = await gateway.app.inject("/metrics");
  return Number(
    body
      .split("\n")
      .find((line) => line.startsWith(`${name} `))
      ?.split(" ")
      .at(-1),
  );
}

test("a histogram renders as prom-client's own", async () => {
  const options = {
    ...{ name: "seconds", help: "Some seconds.", labelNames: ["operation", "outcome"] as const },
    buckets: [0.001, 0.01, 0.1, 1],
  };
  const label = fc.constantFrom("kycs", "createKyc", "OK", 'a "quoted" \\ label\nof two lines');
  const value = fc.oneof(
    fc.constantFrom(...options.buckets, 0, 2),
    fc.double({ min: 0, max: 2, noNaN: true }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(value, label, label)), async (values) => {
      const [ours, theirs] = [new Registry(), new Registry()];
      const histogram = new Histogram(ours, options);
      const model = new PromHistogram({ ...options, registers: [theirs] });
      for (const [seconds, operation, outcome] of values) {
        histogram.observe(seconds, operation, outcome);
        model.observe({ operation, outcome }, seconds);
      }
      expect(await ours.metrics()).toBe(await theirs.metrics());
    }),
    { numRuns: 50 },
  );
});

test("requests are counted on both surfaces, by the route's pattern", async () => {
  const token = await gateway.token("acme");
  await gateway.rest(token, "GET", "/v1/kyc/secret-id");
  await gateway.graphql(token, "{ kycs { totalCount } }");
  const count = (labels: string) => read(`http_request_duration_seconds_count{${labels}}`);
  expect(await count('method="GET",route="/v1/kyc/:id",status="404"')).toBe(1);
  expect(await count('method="POST",route="/graphql",status="200"')).toBe(1);
  for (const method of ["TRACE", "PROPFIND", "MKCOL"])
    await gateway.app.inject({ method: method as "GET", url: "/v1/kyc" });
  expect(await count('method="_OTHER",route="/v1/kyc",status="405"')).toBe(3);
  await gateway.app.inject({ method: "LOCK" as "GET", url: "/v1/kyc/secret-id?secret" });
  expect(await count('method="_OTHER",route="/v1/kyc/:id",status="405"')).toBe(1);
  expect((await gateway.app.inject("/metrics")).body).not.toContain("secret");
});

test("the pool tells what its connections do, and what waits for them", async () => {
  expect(await read("database_pool_waiting")).toBe(0);
  expect(await read('database_pool_connections{state="in_use"}')).toBe(0);
  const busy = Promise.all([
    ...Array.from({ length: POOL_SIZE + 2 }, () => gateway.db.send("select pg_sleep(1)", [])),
    gateway.db.transaction((tx) => tx.send("select 1", [])),
  ]);
  expect(await read('database_pool_connections{state="in_use"}')).toBe(POOL_SIZE);
  expect(await read('database_pool_connections{state="idle"}')).toBe(0);
  expect(await read('database_pool_connections{state="retired"}')).toBe(0);
  expect(await read("database_pool_waiting")).toBe(3);
  await busy;
  expect(await read("database_pool_waiting")).toBe(0);
  expect(await read('database_pool_connections{state="idle"}')).toBe(POOL_SIZE);
});

test("what was refused is counted by the reason, and each reason is there before it happens", async () => {
  for (const reason of ["requests", "event_loop", "late", "queue"])
    expect(await read(`http_requests_shed_total{reason="${reason}"}`)).toBe(0);
  for (const by of ["token", "address"])
    expect(await read(`http_requests_limited_total{by="${by}"}`)).toBe(0);
  const usage = () => ({ inUse: 0, idle: 0, retired: 0, waiting: 0, refused: 3 });
  const metrics = createMetrics({ usage, droppedLines: () => 7 });
  metrics.countShed("late");
  metrics.countLimited("token");
  for (let scrape = 0; scrape < 2; scrape++) {
    const text = await metrics.render();
    expect(text).toContain('http_requests_shed_total{reason="late"} 1\n');
    expect(text).toContain('http_requests_shed_total{reason="queue"} 3\n');
    expect(text).toContain('http_requests_limited_total{by="token"} 1\n');
    expect(text).toContain("log_lines_dropped_total 7\n");
  }
});

test("the process and its event loop are measured", async () => {
  const { body, headers } = await gateway.app.inject("/metrics");
  expect(headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
  for (const name of [
    "nodejs_eventloop_lag_p99_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
  ]) {
    expect(body).toMatch(new RegExp(`^${name} [\\d.e-]+$`, "m"));
  }
});
