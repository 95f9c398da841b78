import { monitorEventLoopDelay } from "node:perf_hooks";
import type { InjectOptions } from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestApp, type TestApp } from "./support/app.ts";
import { EXPANDING, plain } from "./support/expanding-requests.ts";
import { createRecord } from "./support/records.ts";

/** Just below the limit of a body. */
const BYTES = 90_000;
/**
 * The shortest of so many tries is what the gateway itself takes: others use the machine, too. A kind that takes less at
 * its first try has no further one.
 */
const TRIES = 40;
/** A plain request of the size takes 1 to 2 ms, measured on a quiet machine: so much is far below 100 ms. */
const MOST = 40;

let gateway: TestApp;
let token: string;
let reference: number;

beforeAll(async () => {
  gateway = await createTestApp();
  token = await gateway.token("acme");
  for (let index = 0; index < 100; index++) await createRecord(gateway, token);
  const turnOfPlain = () => longestTurn(plain.build(BYTES), 0, 8);
  await turnOfPlain();
  reference = await turnOfPlain();
});
afterAll(() => gateway.close());

/**
 * The longest turn of the event loop while the request is served, the shortest of several times, or the first one that is
 * shorter than `enough`. Milliseconds.
 */
async function longestTurn(request: InjectOptions, enough: number, tries = TRIES): Promise<number> {
  let shortest = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < tries && shortest >= enough; attempt++) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    await new Promise((resolve) => setTimeout(resolve, 5));
    delay.reset();
    const headers = { authorization: `Bearer ${token}`, ...request.headers };
    const { statusCode } = await gateway.app.inject({ ...request, headers });
    await new Promise((resolve) => setTimeout(resolve, 5));
    delay.disable();
    expect(statusCode).toBeLessThan(500);
    shortest = Math.min(shortest, delay.max / 1e6);
  }
  return shortest;
}

test.each(EXPANDING)(
  "$name: no turn is much longer than a plain request's of the same size",
  async ({ build }) => {
    const turn = await longestTurn(build(BYTES), MOST * reference);
    if (process.env.SHOW_TURNS)
      process.stdout.write(`${(turn / reference).toFixed(1)}× ${turn.toFixed(1)} ms\n`);
    expect(turn / reference).toBeLessThan(MOST);
  },
);
