import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { administer, databaseUrl } from "../support/postgres-server.ts";
import { CREATE_KYC, createClient, kycFields } from "./support/client.ts";
import { startDebianPostgres } from "./support/debian.ts";
import { fullToken, ROOT, startGateway, temporaryFolder, tidyUp } from "./support/gateway.ts";

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
  // What a gateway keeps beside its database goes with it.
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
