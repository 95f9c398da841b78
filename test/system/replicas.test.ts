import { afterEach, describe, expect, test } from "vitest";
import { CREATE_KYC, createClient, kycFields } from "./support/client.ts";
import { cuttableDatabase } from "./support/database-proxy.ts";
import {
  emptyEnv,
  freshEnv,
  fullToken,
  type Gateway,
  runCli,
  startGateway,
  tidyUp,
} from "./support/gateway.ts";

afterEach(tidyUp);

/** Makes a record on one gateway with either surface, and reads it on the other. */
async function expectToShareRecords(one: Gateway, other: Gateway, token: string): Promise<void> {
  const writer = createClient(one.url, token);
  const reader = createClient(other.url, token);
  const rest = await writer.form("POST", "/v1/kyc", kycFields("customer-1", "P-1"));
  expect(rest.status).toBe(201);
  const graphql = await writer.graphql(CREATE_KYC, { customerId: "customer-2", documentNumber: "P-2" });
  expect(graphql.json.errors).toBeUndefined();
  const { kyc } = graphql.json.data.createKyc;

  const read = await reader.graphql("query ($id: ID!) { kyc(id: $id) { documentNumber } }", {
    id: rest.json.id,
  });
  expect(read.json).toMatchObject({ data: { kyc: { documentNumber: "P-1" } } });
  expect((await reader.send("GET", `/v1/kyc/${kyc.id}`)).json).toMatchObject({ document_number: "P-2" });
}

describe("gateways on a real database", () => {
  test("two that start at once on an empty database both come up and serve the same records", async () => {
    const env = await emptyEnv();
    const [one, other] = await Promise.all([startGateway(env), startGateway(env)]);
    for (const { url } of [one, other]) {
      expect((await createClient(url, null).send("GET", "/ready")).status).toBe(200);
    }
    const token = await fullToken(env);
    await expectToShareRecords(one, other, token);
    await expectToShareRecords(other, one, token);
    expect(await one.stop()).toMatchObject({ code: 0 });
    expect((await createClient(other.url, token).send("GET", "/v1/kyc")).json.data).toHaveLength(4);
  });

  test("one that starts later joins, and one that restarts comes back", async () => {
    const env = await freshEnv("a real database");
    const one = await startGateway(env);
    const token = await fullToken(env);
    await expectToShareRecords(one, await startGateway(env), token);
    await one.stop();
    const again = await startGateway(env);
    expect((await createClient(again.url, token).send("GET", "/v1/kyc")).json.data).toHaveLength(2);
  });

  test("no development token is made: the start prints the command that makes one, and it works", async () => {
    const env = await emptyEnv();
    const gateway = await startGateway(env);
    expect(gateway.output()).not.toContain("dev-token");
    expect(gateway.output()).not.toMatch(/^curl /m);
    const [line = ""] = /^npx kyc-gateway token create .*$/m.exec(gateway.stdout()) ?? [];
    const list = await runCli(["token", "list", "--json"], env);
    expect(JSON.parse(list.stdout)).toEqual([]);

    const made = await runCli(line.split(" ").slice(2), env);
    expect(made).toMatchObject({ code: 0 });
    const answer = await createClient(gateway.url, made.stdout.trim()).send("GET", "/v1/kyc");
    expect(answer.json).toEqual({ has_more: false, data: [] });
  });

  test("DATABASE_PREPARE=false serves both surfaces", async () => {
    const env = { ...(await emptyEnv()), DATABASE_PREPARE: "false" };
    const [one, other] = await Promise.all([startGateway(env), startGateway(env)]);
    const token = await fullToken(env);
    await expectToShareRecords(one, other, token);
    const client = createClient(other.url, token);
    for (const { id } of (await client.send("GET", "/v1/kyc?limit=1")).json.data) {
      const changed = await client.form("PUT", `/v1/kyc/${id}`, { verification_status: "verified" });
      expect(changed.json).toMatchObject({ verification_status: "verified" });
      expect((await client.send("DELETE", `/v1/kyc/${id}`)).json).toEqual({ id, deleted: true });
    }
    const counted = await client.graphql("{ kycs(first: 5) { totalCount nodes { id } } }");
    expect(counted.json.data.kycs).toMatchObject({ totalCount: 1, nodes: [{}] });
  });
});

describe("a gateway whose database goes away", () => {
  /** A delay that a client accepts. Milliseconds. */
  const SOON = 3000;

  test("answers 503 soon, however long it lasts, and serves again soon after the database is back", async () => {
    const { env, cut, restore } = await cuttableDatabase();
    const gateway = await startGateway(env);
    const client = createClient(gateway.url, await fullToken(env));
    const made = await client.form("POST", "/v1/kyc", kycFields("customer-1", "P-1"));
    await cut();
    for (let n = 0; n < 20; n++) {
      const askedAt = performance.now();
      const answers = await Promise.all([
        client.send("GET", "/v1/kyc"),
        client.graphql("{ kycs { totalCount } }"),
        client.send("GET", "/ready"),
      ]);
      expect(performance.now() - askedAt).toBeLessThan(SOON);
      expect(answers.map(({ status }) => status)).toEqual([503, 503, 503]);
      expect(answers[0].headers.get("retry-after")).toMatch(/^\d+$/);
      expect(answers[1].headers.get("retry-after")).toMatch(/^\d+$/);
      expect((await client.send("GET", "/health")).status).toBe(200);
    }
    await restore();
    const restoredAt = performance.now();
    await expect
      .poll(async () => (await client.send("GET", "/v1/kyc")).json.data, { timeout: 30_000 })
      .toEqual([made.json]);
    // The last result of the check of the database is used for a while.
    await expect.poll(async () => (await client.send("GET", "/ready")).status, { timeout: 5000 }).toBe(200);
    expect(performance.now() - restoredAt).toBeLessThan(SOON);
  });

  test("answers 503 in bounded time when the database is silent", async () => {
    const { env, freeze } = await cuttableDatabase();
    const gateway = await startGateway(env);
    const client = createClient(gateway.url, await fullToken(env));
    expect((await client.send("GET", "/v1/kyc")).status).toBe(200);
    freeze();
    const askedAt = performance.now();
    const answers = await Promise.all([
      client.send("GET", "/v1/kyc"),
      client.form("POST", "/v1/kyc", kycFields("customer-1", "P-1")),
      client.graphql("{ kycs { totalCount } }"),
      client.send("GET", "/ready"),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([503, 503, 503, 503]);
    // The time limit of a statement, plus the delay of a busy machine.
    expect(performance.now() - askedAt).toBeLessThan(9000);
  });
});
