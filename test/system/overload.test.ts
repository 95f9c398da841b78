import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { createClient, kycFields } from "./support/client.ts";
import { freshEnv, fullToken, startGateway, tidyUp } from "./support/gateway.ts";

afterEach(tidyUp);

/** How many requests were served, of those that a label chooses. */
function countOf(metrics: string, part: "bucket" | "count", label = ""): number {
  const lines = metrics.matchAll(
    new RegExp(`^http_request_duration_seconds_${part}\\{${label}.*status="20[01]"\\} (\\d+)$`, "gm"),
  );
  return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
}

const CAPACITY = 40;
const CLIENTS = 8 * CAPACITY;
const DURATION = 8000;

test("with many times the clients that it can serve a gateway serves some in bounded time, refuses the others at once, and keeps its memory", async () => {
  const env = await freshEnv("a real database");
  const gateway = await startGateway({
    ...env,
    LOG_LEVEL: "warn",
    MAX_CONCURRENT_REQUESTS: String(CAPACITY),
  });
  const client = createClient(gateway.url, await fullToken(env));
  const memory = async () => {
    const { text } = await client.send("GET", "/metrics");
    return Number(/^process_resident_memory_bytes (\S+)$/m.exec(text)?.[1]) / 1e6;
  };
  const { id } = (await client.form("POST", "/v1/kyc", kycFields("c", "1"))).json;
  let served = 0;
  let refused = 0;
  const strange: string[] = [];
  const probes: number[] = [];
  const until = performance.now() + DURATION;

  const load = Array.from({ length: CLIENTS }, async (_, n) => {
    while (performance.now() < until) {
      const answer =
        n % 2 === 0
          ? await client.form("POST", "/v1/kyc", kycFields("c", String(n)))
          : await client.graphql(`{ kycs(first: ${(n % 100) + 1}) { nodes { id } totalCount } }`);
      if (answer.status === 503 && answer.headers.get("retry-after") === "1") {
        refused += 1;
        // More patience than none, and less than they are asked to have.
        await wait(100);
      } else if (answer.status < 300 && !answer.json.errors) served += 1;
      else strange.push(`${answer.status} ${answer.text}`);
    }
  });
  await wait(DURATION / 4);
  const before = await memory();
  while (performance.now() < until) {
    probes.push((await client.send("GET", "/health")).status, (await client.send("GET", "/metrics")).status);
    await wait(200);
  }
  const after = await memory();
  await Promise.all(load);

  expect(strange).toEqual([]);
  expect(served).toBeGreaterThan(CAPACITY);
  expect(refused).toBeGreaterThan(CAPACITY);
  // By the gateway's own clock: this process, with all its clients, is the slower one.
  const { text } = await client.send("GET", "/metrics");
  const soon = countOf(text, "bucket", 'le="5",');
  expect(soon / countOf(text, "count")).toBeGreaterThan(0.99);
  expect(new Set(probes)).toEqual(new Set([200]));
  expect(after - before).toBeLessThan(60);
  expect((await client.send("GET", `/v1/kyc/${id}`)).status).toBe(200);
  expect((await client.send("GET", "/ready")).status).toBe(200);
});
