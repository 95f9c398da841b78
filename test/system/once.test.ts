import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, CREATE_KYC, createClient, kycFields } from "./support/client.ts";
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

const CLIENTS = 8;
const KILLS = 3;
/** How many keys each client goes through at least, and how long one may take. */
const KEYS_OF_A_CLIENT = 25;
const KEY_TIMEOUT = 60_000;

/** What clients saw, by the key: every answer that was a success. */
type Seen = Map<string, { id: string; replayed: boolean }[]>;

/** Gateways side by side on one database. One that is killed is started again by whoever killed it. */
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

/** Sends a create once through one surface; null where no answer, or none that is final, came. */
async function create(
  client: Client,
  surface: number,
  key: string,
): Promise<{ id: string; replayed: boolean } | null> {
  const headers = { "idempotency-key": key };
  const send = () =>
    surface === 0
      ? client.send("POST", "/v1/kyc", {
          headers: { ...headers, "content-type": "application/x-www-form-urlencoded" },
          body: new URLSearchParams(kycFields(`customer of ${key}`, key)).toString(),
        })
      : client.send("POST", "/graphql", {
          headers: { ...headers, "content-type": "application/json" },
          body: JSON.stringify({
            query: CREATE_KYC,
            variables: { customerId: `customer of ${key}`, documentNumber: key },
          }),
        });
  const answer = await send().catch(() => null);
  if (answer === null) return null;
  const replayed = answer.headers.get("idempotent-replayed") === "true";
  if (answer.json?.id) return { id: answer.json.id, replayed };
  if (answer.json?.data?.createKyc) return { id: answer.json.data.createKyc.kyc.id, replayed };
  const code = answer.json?.errors?.[0]?.extensions.code ?? answer.json?.error?.code.toUpperCase();
  expect(["IDEMPOTENCY_IN_PROGRESS", "UNAVAILABLE"]).toContain(code);
  return null;
}

/** Goes through keys as a careful client does: the same one again, anywhere, until it has two answers. */
async function work(name: string, seen: Seen, isOver: () => boolean): Promise<void> {
  for (let n = 0; n < KEYS_OF_A_CLIENT || !isOver(); n++) {
    const key = `${name}-${n}`;
    const answers: { id: string; replayed: boolean }[] = [];
    seen.set(key, answers);
    const deadline = performance.now() + KEY_TIMEOUT;
    for (let attempt = n; answers.length < 2; attempt++) {
      if (performance.now() > deadline) throw new Error(`no two answers for ${key}`);
      // Two at once, to both replicas: as a client does that gave up waiting for the first.
      const both = await Promise.all(
        gateways.map(({ url }, index) => create(createClient(url, token), (attempt + index) % 2, key)),
      );
      for (const answer of both) if (answer) answers.push(answer);
      if (answers.length < 2) await wait(5);
    }
  }
}

async function readNumbers(client: Client): Promise<Map<string, string[]>> {
  const ids = new Map<string, string[]>();
  for (let path = "/v1/kyc?limit=100"; ; ) {
    const { json } = await client.send("GET", path);
    for (const { id, document_number: number } of json.data)
      ids.set(number, [...(ids.get(number) ?? []), id]);
    if (!json.has_more) return ids;
    path = `/v1/kyc?limit=100&starting_after=${json.data.at(-1).id}`;
  }
}

test("clients that repeat creates through two gateways, killed again and again, leave one record a key", async () => {
  const seen: Seen = new Map();
  let over = false;
  const clients = Promise.all(
    Array.from({ length: CLIENTS }, (_, n) => work(`client-${n}`, seen, () => over)),
  );
  for (let n = 0; n < KILLS; n++) {
    await wait(400 + Math.random() * 800);
    const victim = gateways[n % 2] as Gateway;
    await victim.stop("SIGKILL");
    gateways[n % 2] = await startGateway(env);
  }
  over = true;
  await clients;

  const stored = await readNumbers(createClient((gateways[0] as Gateway).url, token));
  expect([...stored.keys()].sort()).toEqual([...seen.keys()].sort());
  for (const [key, answers] of seen) {
    const ids = stored.get(key);
    expect(ids).toHaveLength(1);
    for (const { id } of answers) expect(id).toBe(ids?.[0]);
    // The first answer may have been lost with its gateway.
    expect(answers.filter(({ replayed }) => !replayed).length).toBeLessThanOrEqual(1);
  }
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
