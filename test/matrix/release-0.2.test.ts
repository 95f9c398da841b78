import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { newKey } from "../support/keys.ts";
import { type Client, CREATE_KYC, createClient, kycFields } from "../system/support/client.ts";
import {
  CLI,
  createEmptyDatabase,
  ENGINES,
  type Engine,
  type Env,
  type Gateway,
  readDevToken,
  start,
  temporaryFolder,
  tidyUp,
} from "../system/support/gateway.ts";
import { PACKING_LIMIT_MS, packRelease02, startRelease } from "./support/release-0.2.ts";

let old: string;
beforeAll(async () => {
  old = await packRelease02();
}, PACKING_LIMIT_MS);

afterEach(tidyUp);
afterAll(tidyUp);

async function emptyEnv(engine: Engine): Promise<Env> {
  if (engine === "the embedded database") return { DATA_DIR: join(await temporaryFolder(), "data") };
  return { DATABASE_URL: await createEmptyDatabase(), ENCRYPTION_KEYS: newKey("first") };
}

async function run(cli: string, env: Env, ...args: string[]): Promise<string> {
  const command = start(process.execPath, [cli, ...args], { env });
  const { code } = await command.exited;
  expect(code, command.output()).toBe(0);
  return command.stdout().trim();
}

const SCOPES = "kyc:read,kyc:write,kyc:delete,kyc:pii,audit:read";

async function makeToken(cli: string, env: Env): Promise<string> {
  if (env.DATABASE_URL === undefined) return readDevToken(env);
  return run(cli, env, "token", "create", "--account=demo", "--name=old", `--scopes=${SCOPES}`);
}

/** Requests with a key: they can be sent again, by anybody with the same token. */
const keyed = {
  rest: (client: Client, name: string) =>
    client.send("POST", "/v1/kyc", {
      headers: { "content-type": "application/x-www-form-urlencoded", "idempotency-key": `rest ${name}` },
      body: new URLSearchParams(kycFields("keyed", `R-${name}`)).toString(),
    }),
  graphql: (client: Client, name: string) =>
    client.send("POST", "/graphql", {
      headers: { "content-type": "application/json", "idempotency-key": `graphql ${name}` },
      body: JSON.stringify({
        query: CREATE_KYC,
        variables: { customerId: "keyed", documentNumber: `G-${name}` },
      }),
    }),
};

type Answers = Awaited<ReturnType<Client["send"]>>[];

const sendKeyed = async (client: Client, name: string): Promise<Answers> => [
  await keyed.rest(client, name),
  await keyed.graphql(client, name),
];

/** Creates three records, two of them under keys, changes one and deletes a fourth; returns the keyed answers. */
async function writeAll(client: Client, name: string): Promise<Answers> {
  const firsts = await sendKeyed(client, name);
  expect(firsts.map(({ status }) => status)).toEqual([201, 200]);
  const { json: changed } = await client.form("POST", "/v1/kyc", kycFields(name, `C-${name}`));
  const put = await client.form("PUT", `/v1/kyc/${changed.id}`, { verification_status: "verified" });
  expect(put.status, put.text).toBe(200);
  const { json: deleted } = await client.form("POST", "/v1/kyc", kycFields(name, `D-${name}`));
  expect((await client.send("DELETE", `/v1/kyc/${deleted.id}`)).status).toBe(200);
  return firsts;
}

/** Fails unless the keyed requests that were answered so are not done again. */
async function expectReplays(client: Client, name: string, firsts: Answers): Promise<void> {
  for (const [index, again] of (await sendKeyed(client, name)).entries()) {
    expect(again.headers.get("idempotent-replayed"), again.text).toBe("true");
    expect(again.json).toEqual(firsts[index]?.json);
  }
}

/**
 * The records that the account can read and their events, oldest first: later writes only append. An act of administration,
 * such as a new scope of the development token, is no event of a record.
 */
async function readAll(client: Client) {
  const { json: list } = await client.send("GET", "/v1/kyc?limit=100");
  const events = `{ auditEvents(first: 100) { nodes { action kycIds statusAfter at } } }`;
  const { json } = await client.graphql(events);
  expect(json.errors).toBeUndefined();
  const nodes: { kycIds: string[] }[] = json.data.auditEvents.nodes;
  return { records: list.data.reverse(), events: nodes.filter(({ kycIds }) => kycIds.length > 0).reverse() };
}

/** The same client on another gateway. */
const on = (gateway: Gateway, token: string) => createClient(gateway.url, token);

/** A probe has two seconds, which are not enough on a busy machine. */
const becomesReady = (client: Client) =>
  expect.poll(async () => (await client.send("GET", "/ready")).status, { timeout: 60_000 }).toBe(200);

describe.each(ENGINES)("with %s", (engine) => {
  test("this release opens what 0.2.0 has written, and 0.2.0 serves what this release has migrated and written", async () => {
    const env = await emptyEnv(engine);
    const first = await startRelease(old, env);
    const token = await makeToken(old, env);
    const ofOld = await writeAll(on(first, token), "old");
    const written = await readAll(on(first, token));
    expect(written.records).toHaveLength(3);
    if (engine === "the embedded database") await first.stop();

    const second = await startRelease(CLI, env);
    const current = on(second, token);
    await becomesReady(current);
    expect(await readAll(current)).toEqual(written);
    await expectReplays(current, "old", ofOld);
    const ofCurrent = await writeAll(current, "current");
    const both = await readAll(current);
    expect(both.records.slice(0, 3)).toEqual(written.records);
    expect(both.records).toHaveLength(6);
    // In an upgrade without a break, the two serve the database together.
    if (engine === "a real database") {
      expect(await readAll(on(first, token))).toEqual(both);
      await first.stop();
    }
    await second.stop();

    const third = await startRelease(old, env);
    const downgraded = on(third, token);
    await becomesReady(downgraded);
    expect(await readAll(downgraded)).toEqual(both);
    await expectReplays(downgraded, "current", ofCurrent);
    const ofDowngraded = await writeAll(downgraded, "downgraded");
    const all = await readAll(downgraded);
    expect(all.records).toHaveLength(9);
    await third.stop();

    const last = on(await startRelease(CLI, env), token);
    expect(await readAll(last)).toEqual(all);
    await expectReplays(last, "downgraded", ofDowngraded);
  });
});

test("after keys rotate, 0.2.0 neither shows nor changes numbers that it can't read, and a token that it makes opens nothing", async () => {
  const env = await emptyEnv("a real database");
  const first = await startRelease(old, env);
  const token = await makeToken(old, env);
  await writeAll(on(first, token), "old");
  await first.stop();
  const second = await startRelease(CLI, env);
  await run(CLI, env, "keys", "rotate");
  const all = await readAll(on(second, token));

  const third = await startRelease(old, env);
  const outdated = on(third, token);
  const [{ id }] = all.records;
  const read = await outdated.send("GET", `/v1/kyc/${id}`);
  expect([read.status, read.text.includes("R-old")]).toEqual([500, false]);
  const put = await outdated.form("PUT", `/v1/kyc/${id}`, { verification_status: "failed" });
  expect(put.status).toBe(500);
  expect((await outdated.form("POST", "/v1/kyc", kycFields("c", "N-1"))).status).toBe(500);
  await third.stop();
  const foreign = await makeToken(old, env);
  expect((await on(second, foreign).send("GET", "/v1/kyc")).status).toBe(401);
  expect(await readAll(on(second, token))).toEqual(all);
});
