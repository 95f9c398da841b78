import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { byCommand } from "../../src/administration/record-act.ts";
import { hashToken } from "../../src/auth/token-secret.ts";
import { grantScope } from "../../src/auth/tokens.ts";
import { startSealer } from "../../src/ledger/seal.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { openStream, type ReadStream } from "../support/event-stream.ts";
import { plainDigests } from "../support/ledger.ts";

const RATE_LIMIT = 5;
const MAX_CONNECTIONS = 8;
const CHANGED = "subscription Changed { kycChanged { kycId kyc { documentNumber } } }";
const NAMED = { documentId: "changed" };
const silent = { warn: () => {}, error: () => {} };

let gateway: TestApp;
let url: string;
let folder: string;
let stopSealer: () => Promise<void>;
const streams: ReadStream[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kyc-limits-"));
  const manifest = join(folder, "documents.json");
  await writeFile(manifest, JSON.stringify({ changed: CHANGED }));
  gateway = await createTestApp({
    ...{ RATE_LIMIT: `${RATE_LIMIT}`, MAX_CONNECTIONS: `${MAX_CONNECTIONS}`, MAX_CONCURRENT_REQUESTS: "1" },
    ...{ PERSISTED_OPERATIONS: manifest, PERSISTED_OPERATIONS_MODE: "only" },
  });
  stopSealer = startSealer({ db: gateway.db, openDigests: plainDigests, log: silent });
  await gateway.app.listen({ port: 0, host: "127.0.0.1" });
  url = `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await stopSealer();
  gateway.app.server.closeAllConnections();
  await gateway.close();
  await rm(folder, { recursive: true });
});

async function follow(token: string, document: Parameters<typeof openStream>[2] = NAMED) {
  const stream = await openStream(url, token, document);
  streams.push(stream);
  // Its place among the requests in progress is free again at the next look at them.
  await expect.poll(async () => (await gateway.rest(null, "GET", "/v1/kyc")).statusCode).not.toBe(503);
  return stream;
}
async function create(token: string): Promise<string> {
  const form = {
    customer_id: "c",
    verification_status: "pending",
    document_type: "visa",
    document_number: "N-123456",
  };
  return (await gateway.rest(token, "POST", "/v1/kyc", { form })).json().id;
}
afterEach(async () => {
  for (const stream of streams.splice(0)) stream.close();
  await expect.poll(() => gateway.logs.figures().followers).toBe(0);
  gateway.app.server.closeAllConnections();
});
const sent = async (stream: ReadStream) =>
  (await stream.until(1)).map(({ data }) => data.kycChanged.kyc.documentNumber);

test("a stream of a trusted document is opened by its id, and any other document is refused", async () => {
  const token = await gateway.token("trusted");
  const stream = await follow(token);
  const id = await create(token);
  expect((await stream.until(1))[0].data.kycChanged.kycId).toBe(id);
  const other = await follow(token, "subscription { kycChanged { cursor } }");
  await other.ended;
  expect(other.results()[0].errors[0].extensions.code).toBe("PERSISTED_QUERY_ID_REQUIRED");
  expect(other.blocks.at(-1)).toEqual({ event: "complete" });
});

test("a stream counts once for RATE_LIMIT, however many events it has, and is refused beyond", async () => {
  const [token, writer] = [await gateway.token("rate"), await gateway.token("rate")];
  const stream = await follow(token);
  expect(stream.headers.get("ratelimit-remaining")).toBe(String(RATE_LIMIT - 1));
  for (let n = 0; n < RATE_LIMIT - 1; n++) await create(writer);
  await stream.until(RATE_LIMIT - 1);
  for (let n = 1; n < RATE_LIMIT; n++) {
    const one = await follow(token);
    expect(one.status).toBe(200);
    one.close();
  }
  const refused = await follow(token);
  expect(refused.status).toBe(429);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  // One that is open goes on.
  await create(writer);
  await stream.until(RATE_LIMIT);
});

test("each stream has one of MAX_CONNECTIONS and none of MAX_CONCURRENT_REQUESTS, and gives it back at its end", async () => {
  const token = await gateway.token("connections");
  const tokens = [token, await gateway.token("connections")];
  for (let n = 0; n < MAX_CONNECTIONS; n++) expect((await follow(tokens[n % 2] as string)).status).toBe(200);
  await expect(fetch(`${url}/health`)).rejects.toThrow();
  // By a connection that is there already.
  expect((await gateway.rest(token, "GET", "/v1/kyc")).statusCode).toBe(200);
  streams.pop()?.close();
  await expect
    .poll(() =>
      fetch(`${url}/health`).then(
        ({ status }) => status,
        () => 0,
      ),
    )
    .toBe(200);
});

test("a stream keeps the mask that its token had when it was opened, and the next one has the token's new scope", async () => {
  const writer = await gateway.token("masked");
  const token = await gateway.token("masked", ["kyc:read"]);
  const before = await follow(token);
  await grantScope(
    gateway.db,
    gateway.keys,
    { hash: hashToken(token), scope: "kyc:pii", now: Date.now() },
    byCommand(),
  );
  // Longer than a token that was looked up is remembered.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const after = await follow(token);
  await create(writer);
  const [[masked], [full]] = [await sent(before), await sent(after)];
  expect(masked).toMatch(/^•+/);
  expect(full).not.toContain("•");
});

test("a stream ends within a second if somebody alters the scopes of its token in the database", async () => {
  const token = await gateway.token("altered", ["kyc:read"]);
  const stream = await follow(token);
  await gateway.db.execute("update tokens set scopes = '{kyc:read,kyc:pii}' where account_id = 'altered'");
  const from = performance.now();
  await stream.ended;
  expect(performance.now() - from).toBeLessThan(1500);
  expect(stream.blocks.filter(({ event }) => event)).toEqual([]);
});
