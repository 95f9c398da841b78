import { randomInt } from "node:crypto";
import fc from "fast-check";
import type { InjectOptions } from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "./support/app.ts";
import { EXPANDING, type Expanding, plain } from "./support/expanding-requests.ts";
import { createRecord } from "./support/records.ts";

/** `npm run fuzz` tries many sizes, and others each time; `npm run test:system` the same few. */
const { FUZZ_RUNS = "600", FUZZ_SEED = "1" } = process.env;
const SEED = FUZZ_SEED === "random" ? randomInt(2 ** 31) : Number(FUZZ_SEED);
/** Of each kind of request. */
const SIZES = Math.max(2, Math.ceil(Number(FUZZ_RUNS) / 400));
/** Below this a request costs what it costs to have one. Bytes. */
const SMALLEST = 1000;
const LARGEST = 95_000;
/** An operation is charged for what it asks for, too: a unit of cost counts as so many bytes. */
const BYTES_PER_COST = 100;
/** CPU time for each byte that was charged, as a multiple of a plain request's. */
const MOST = 100;
/** A request that costs too much does so each time; a collection of garbage during a request does not. */
const TRIES = 5;

let gateway: TestApp;
let token: string;
beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  for (let index = 0; index < 20; index++) await createRecord(gateway, token);
});
afterAll(() => gateway.close());

const sizeOf = ({ payload = "", url = "", headers = {} }: InjectOptions) =>
  [payload, url, ...Object.values(headers)].reduce<number>((sum, part) => sum + String(part).length, 0);

/** The CPU time of this process for the request, and what the operation in it costs. Microseconds. */
async function timeOf(request: InjectOptions): Promise<{ time: number; cost: number }> {
  const headers = { authorization: `Bearer ${token}`, ...request.headers };
  const least = { time: Number.POSITIVE_INFINITY, cost: 0 };
  for (let attempt = 0; attempt < 2; attempt++) {
    const before = process.cpuUsage();
    const answer = await gateway.app.inject({ ...request, headers });
    const { user, system } = process.cpuUsage(before);
    expect(answer.statusCode).toBeLessThan(500);
    least.time = Math.min(least.time, user + system);
    least.cost = Number(/"requested":(\d+)/.exec(answer.body)?.[1] ?? 0);
  }
  return least;
}

/** How much longer it takes than a plain request that is charged as much. */
async function priceOf(request: InjectOptions): Promise<number> {
  const { time, cost } = await timeOf(request);
  const size = sizeOf(request);
  const reference = await timeOf(plain.build(size));
  return (time / reference.time) * (size / (size + cost * BYTES_PER_COST));
}

/** Looks for the size at which a kind costs most for each byte: a few at random, then around the worst of them. */
async function seek(kind: Expanding, starts: readonly number[]): Promise<{ size: number; price: number }> {
  let worst = { size: 0, price: 0 };
  const look = async (size: number) => {
    const within = Math.round(Math.min(Math.max(size, SMALLEST), LARGEST));
    let price = await priceOf(kind.build(within));
    for (let tries = 1; price > MOST && tries < TRIES; tries++) {
      price = Math.min(price, await priceOf(kind.build(within)));
    }
    if (price > worst.price) worst = { size: within, price };
  };
  for (const start of starts) await look(start);
  for (const factor of [0.8, 1.25]) await look(worst.size * factor);
  return worst;
}

test("no kind of request, of whatever size, costs much more for each byte than a plain one", async () => {
  const sizes = fc.sample(fc.integer({ min: SMALLEST, max: LARGEST }), { numRuns: SIZES, seed: SEED });
  const found = [];
  for (const kind of EXPANDING) found.push({ name: kind.name, ...(await seek(kind, sizes)) });
  found.sort((a, b) => b.price - a.price);
  const worst = found
    .slice(0, 5)
    .map(({ name, size, price }) => `${price.toFixed(1)}× ${name}, ${size} bytes`);
  process.stdout.write(`fuzz: seed ${SEED}, the dearest sizes: ${worst.join("; ")}\n`);
  expect(found.filter(({ price }) => price > MOST)).toEqual([]);
}, 600_000);
