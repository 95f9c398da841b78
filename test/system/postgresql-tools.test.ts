import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { newKey } from "../support/keys.ts";
import { administer, databaseUrl } from "../support/postgres-server.ts";
import { CREATE_KYC, createClient, kycFields } from "./support/client.ts";
import { startDebianPostgres } from "./support/debian.ts";
import { fullToken, ROOT, runCli, startGateway, temporaryFolder, tidyUp } from "./support/gateway.ts";

afterEach(tidyUp);

/** The line of docs/operations.md that begins with this command. */
function documentedLine(command: string): string {
  const [line] =
    new RegExp(`^${command} .*$`, "m").exec(readFileSync(join(ROOT, "docs/operations.md"), "utf8")) ?? [];
  if (!line) throw new Error(`docs/operations.md has no line with ${command}`);
  return line;
}

test("a gateway on Debian's PostgreSQL answers, and what pg_dump saves of it pg_restore brings back elsewhere", async () => {
  const server = await startDebianPostgres();
  await administer(server.url, "create database original", "create database restored");
  const original = databaseUrl(server.url, "original");
  // The files that a gateway keeps next to its database are copied, too.
  const DATA_DIR = await temporaryFolder();
  const gateway = await startGateway({ DATABASE_URL: original, DATA_DIR });
  const token = await fullToken({ DATABASE_URL: original, DATA_DIR });
  const client = createClient(gateway.url, token);
  const { status, json: first } = await client.form("POST", "/v1/kyc", kycFields("customer-1", "P-1"));
  expect(status).toBe(201);
  const second = await client.graphql(CREATE_KYC, { customerId: "customer-2", documentNumber: "P-2" });
  expect(second.json.errors).toBeUndefined();
  const third = (await client.form("POST", "/v1/kyc", kycFields("customer-3", "P-3"))).json;
  const changed = await client.form("PUT", `/v1/kyc/${first.id}`, { verification_status: "verified" });
  expect(changed.status).toBe(200);
  expect((await client.send("DELETE", `/v1/kyc/${third.id}`)).status).toBe(200);
  const before = (await client.send("GET", "/v1/kyc")).json;
  expect(before.data).toHaveLength(2);

  // While the gateway serves.
  const cwd = await temporaryFolder();
  const restored = databaseUrl(server.url, "restored");
  const env = { DATABASE_URL: original, EMPTY_DATABASE_URL: restored };
  await server.run(documentedLine("pg_dump"), { cwd, env });
  await client.form("POST", "/v1/kyc", kycFields("customer-4", "later"));
  await server.run(documentedLine("pg_restore"), { cwd, env });
  await server.run(documentedLine("vacuumdb"), { cwd, env });

  const again = createClient((await startGateway({ DATABASE_URL: restored, DATA_DIR })).url, token);
  expect((await again.send("GET", "/ready")).status).toBe(200);
  expect((await again.send("GET", "/v1/kyc")).json).toEqual(before);
  // The cursor of a deleted record goes on working, and records can be written.
  expect((await again.send("GET", `/v1/kyc?starting_after=${third.id}`)).json).toEqual(before);
  expect((await again.form("POST", "/v1/kyc", kycFields("customer-5", "P-5"))).status).toBe(201);
});

test("of a dump of the schema public alone, the gateway says what is missing, and serves once that is restored", async () => {
  const server = await startDebianPostgres();
  await administer(server.url, "create database original", "create database part");
  const ENCRYPTION_KEYS = newKey("k");
  const env = { DATABASE_URL: databaseUrl(server.url, "original"), ENCRYPTION_KEYS };
  const gateway = await startGateway(env);
  const token = await fullToken(env);
  const made = await createClient(gateway.url, token).form("POST", "/v1/kyc", kycFields("customer-1", "P-1"));
  expect(made.status).toBe(201);

  const part = databaseUrl(server.url, "part");
  // A busy machine is no reason to refuse requests here.
  const partial = { DATABASE_URL: part, ENCRYPTION_KEYS, MAX_EVENT_LOOP_DELAY: "60 s" };
  const shell = { cwd: await temporaryFolder(), env: { FROM: env.DATABASE_URL, TO: part } };
  // The empty database has the schema itself.
  const restore = 'grep -v "^CREATE SCHEMA public" | psql -q -v ON_ERROR_STOP=1 "$TO" > /dev/null';
  await server.run(`pg_dump -n public "$FROM" | ${restore}`, shell);
  for (const command of ["serve", "migrate"]) {
    const { code, stderr } = await runCli([command], { ...partial, PORT: "0" });
    expect(code).toBe(1);
    expect(stderr.trim().split("\n")).toEqual([
      expect.stringMatching(/not the schema drizzle.*also with -n drizzle/),
    ]);
  }
  const doctor = await runCli(["doctor"], partial);
  expect(doctor).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/problem\t.*not the schema drizzle/),
  });
  await server.run(`pg_dump -n drizzle "$FROM" | ${restore}`, shell);

  const restored = createClient((await startGateway(partial)).url, token);
  expect((await restored.send("GET", `/v1/kyc/${made.json.id}`)).json).toEqual(made.json);
  expect((await restored.form("POST", "/v1/kyc", kycFields("customer-2", "P-2"))).status).toBe(201);
});
