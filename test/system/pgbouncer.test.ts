import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { migrate } from "../../src/db/migrating/migrate.ts";
import { FUTURE_INDEX, futureMigrations } from "../support/future-migration.ts";
import { newKey } from "../support/keys.ts";
import { administer } from "../support/postgres-server.ts";
import { startReceiver } from "../support/receiver.ts";
import { type Client, createClient, kycFields } from "./support/client.ts";
import { startDebianPostgres, startPgbouncer } from "./support/debian.ts";
import {
  CLI,
  emptyEnv,
  freshEnv,
  fullToken,
  later,
  runCli,
  start,
  startGateway,
  tidyUp,
} from "./support/gateway.ts";
import { openSql } from "./support/sql.ts";

afterEach(tidyUp);

/** Within it, another process must have taken over. Milliseconds. */
const TAKEOVER = 30_000;

const CREATE = `mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { id documentNumber } } }`;
const UPDATE = `mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { id documentNumber version } } }`;
const READ = `query ($id: ID!, $customer: String!) {
  kyc(id: $id) { documentNumber version }
  kycs(filter: { customerId: $customer }) { nodes { id } totalCount }
}`;

/** Writes through one gateway and reads through another, for a new customer, and compares every answer. */
async function work(writer: Client, reader: Client, customer: string, rounds: number): Promise<string[]> {
  const wrong: string[] = [];
  const compare = (what: string, found: unknown, wanted: unknown) => {
    if (JSON.stringify(found) !== JSON.stringify(wanted)) wrong.push(`${what}: ${JSON.stringify(found)}`);
  };
  for (let n = 0; n < rounds; n++) {
    const number = `${customer}-${n}`;
    const input = { customerId: customer, verificationStatus: "PENDING", documentType: "VISA" };
    const made =
      n % 2 === 0
        ? (await writer.form("POST", "/v1/kyc", kycFields(customer, number))).json.id
        : (await writer.graphql(CREATE, { input: { ...input, documentNumber: number } })).json.data.createKyc
            .kyc.id;
    const changed = await reader.form("PUT", `/v1/kyc/${made}`, { document_number: `${number}!` });
    compare("rest update", [changed.json.id, changed.json.document_number], [made, `${number}!`]);
    const again = await writer.graphql(UPDATE, { input: { id: made, documentNumber: `${number}!!` } });
    compare("update", again.json.data?.updateKyc.kyc, {
      id: made,
      documentNumber: `${number}!!`,
      version: 3,
    });
    const { data } = (await reader.graphql(READ, { id: made, customer })).json;
    compare("read", data?.kyc, { documentNumber: `${number}!!`, version: 3 });
    compare("count", [data?.kycs.totalCount, data?.kycs.nodes[0]?.id], [n + 1, made]);
  }
  return wrong;
}

test("two gateways behind a pooler that shares connections between transactions start together, answer right, and heed a revocation within a second", async () => {
  const direct = await emptyEnv();
  const pooled = await startPgbouncer(direct.DATABASE_URL ?? "");
  // Five connections for all of them: on a busy machine a statement may wait for one longer than a client would.
  const patience = { STATEMENT_TIMEOUT: "20 s", REQUEST_TIMEOUT: "30 s" };
  const env = { ...direct, ...patience, DATABASE_URL: pooled, DATABASE_PREPARE: "false" };
  const gateways = await Promise.all([startGateway(env), startGateway(env)]);
  const token = await fullToken(env);
  const [one, other] = gateways.map(({ url }) => createClient(url, token));
  if (!one || !other) throw new Error("there are two");

  const workers = Array.from({ length: 8 }, (_, n) =>
    n % 2 === 0 ? work(one, other, `customer-${n}`, 15) : work(other, one, `customer-${n}`, 15),
  );
  // The next release's migrations run through the pooler meanwhile.
  const future = futureMigrations({
    statements: ['ALTER TABLE "kycs" ADD COLUMN "note" text'],
    concurrentIndexes: [FUTURE_INDEX],
  });
  await Promise.all([migrate({ url: pooled }, future), migrate({ url: pooled }, future)]);
  expect((await Promise.all(workers)).flat()).toEqual([]);
  expect((await other.graphql("{ kycs(first: 0) { totalCount } }")).json.data.kycs.totalCount).toBe(120);

  const [listed] = JSON.parse((await runCli(["token", "list", "--json"], env)).stdout);
  expect(await runCli(["token", "revoke", listed.id], env)).toMatchObject({ code: 0 });
  await wait(1000);
  for (const client of [one, other]) expect((await client.send("GET", "/v1/kyc")).status).toBe(401);
});

test("behind such a pooler, a `deliver` process takes over the webhooks of one that is killed, within 30 seconds and in order", async () => {
  const direct = await freshEnv("a real database");
  const pooled = await startPgbouncer(direct.DATABASE_URL ?? "");
  const env = {
    ...{ ...direct, DATABASE_URL: pooled, DATABASE_PREPARE: "false" },
    ...{ STATEMENT_TIMEOUT: "20 s", REQUEST_TIMEOUT: "30 s", WEBHOOK_ALLOW_PRIVATE: "127.0.0.0/8" },
  };
  const gateway = await startGateway({ ...env, WEBHOOKS: "off" });
  let isHanging = true;
  const accepted: number[] = [];
  const receiver = await startReceiver(({ body }, response) => {
    if (isHanging) return;
    accepted.push(body.data.position);
    response.writeHead(204).end();
  });
  later(() => receiver.close());
  const url = ["--url", receiver.url];
  expect(await runCli(["webhook", "create", "--account=demo", ...url], env)).toMatchObject({ code: 0 });
  const client = createClient(gateway.url, await fullToken(env));
  const { id } = (await client.form("POST", "/v1/kyc", kycFields("c", "P-1"))).json;
  const first = start(process.execPath, [CLI, "deliver"], { env });
  await expect.poll(() => receiver.received.length, { timeout: 30_000 }).toBe(1);
  const second = start(process.execPath, [CLI, "deliver"], { env });
  await second.printed(/delivering webhooks/);
  for (const status of ["in_review", "verified"])
    await client.form("PUT", `/v1/kyc/${id}`, { verification_status: status });

  isHanging = false;
  const killedAt = performance.now();
  await first.stop("SIGKILL");
  await expect.poll(() => accepted.length, { timeout: TAKEOVER }).toBe(3);
  expect(performance.now() - killedAt).toBeLessThan(TAKEOVER);
  expect(accepted).toEqual([...accepted].sort((a, b) => a - b));
  expect((await second.stop()).code).toBe(0);
});

test("that the server compiles statements behind such a pooler is noticed by the start and by `doctor`", async () => {
  const { url } = await startDebianPostgres();
  const [server] = await openSql({ DATABASE_URL: url })`select pg_jit_available() as compiles`;
  const env = { ENCRYPTION_KEYS: newKey("k"), DATABASE_PREPARE: "false" };
  const notices = async () => {
    const pooled = { ...env, DATABASE_URL: await startPgbouncer(url) };
    const gateway = await startGateway(pooled);
    const { stdout } = await runCli(["doctor", "--json"], pooled);
    return [gateway.stdout(), stdout].map((text) => text.includes("ALTER ROLE … SET jit = off"));
  };
  // Of some versions, Debian has the compiler in a package of its own.
  expect(await notices()).toEqual([server?.compiles, server?.compiles]);
  await administer(url, "alter role postgres set jit = off");
  expect(await notices()).toEqual([false, false]);
});
