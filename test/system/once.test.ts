import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "./support/client.ts";
import {
  createEmptyDatabase,
  type Env,
  freshEnv,
  fullToken,
  type Gateway,
  readDevToken,
  startGateway,
  tidyUp,
} from "./support/gateway.ts";
import { create, createRepeatedly, expectOneRecordEach, type Seen } from "./support/repeating.ts";

const CLIENTS = 8;
const KILLS = 3;

/** Replicas on one database. The test that kills one starts it again. */
let env: Env;
let gateways: Gateway[];
let token: string;

beforeAll(async () => {
  env = {
    DATABASE_URL: await createEmptyDatabase(),
    ENCRYPTION_KEYS: `first:${randomBytes(32).toString("base64")}`,
    LOG_LEVEL: "warn",
  };
  gateways = await Promise.all([startGateway(env), startGateway(env)]);
  token = await fullToken(env);
});
afterAll(tidyUp);

test("clients that repeat creates through two gateways, killed again and again, leave one record a key", async () => {
  const seen: Seen = new Map();
  let over = false;
  const clients = Promise.all(
    Array.from({ length: CLIENTS }, (_, n) =>
      createRepeatedly(`client-${n}`, seen, { gateways, token, isOver: () => over }),
    ),
  );
  for (let n = 0; n < KILLS; n++) {
    await wait(400 + Math.random() * 800);
    const victim = gateways[n % 2] as Gateway;
    await victim.stop("SIGKILL");
    gateways[n % 2] = await startGateway(env);
  }
  over = true;
  await clients;

  await expectOneRecordEach(seen, createClient((gateways[0] as Gateway).url, token));
});

test("an embedded gateway that was killed answers the keys of its earlier life", async () => {
  const own = { ...(await freshEnv("the embedded database")), LOG_LEVEL: "warn" };
  const first = await startGateway(own);
  const devToken = await readDevToken(own);
  const key = randomUUID();
  const made = await create(createClient(first.url, devToken), 0, key);
  expect(made).toMatchObject({ replayed: false });
  await first.stop("SIGKILL");
  const second = await startGateway(own);
  const client = createClient(second.url, devToken);
  for (const surface of [1, 0])
    expect(await create(client, surface, key)).toEqual({ ...made, replayed: true });
  // One engine and one session: a second request waits for the first, and finds what it did.
  const twin = randomUUID();
  const answers = await Promise.all([0, 1, 0, 1].map((surface) => create(client, surface, twin)));
  const good = answers.filter((answer) => answer !== null);
  expect(new Set(good.map(({ id }) => id)).size).toBe(1);
  expect(good.filter(({ replayed }) => !replayed)).toHaveLength(1);
});
