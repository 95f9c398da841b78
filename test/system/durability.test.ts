import { readdir } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, CREATE_KYC, createClient, kycFields } from "./support/client.ts";
import { type Env, freshEnv, type Gateway, readDevToken, startGateway, tidyUp } from "./support/gateway.ts";

const ROUNDS = 3;
const CLIENTS_OF_A_SURFACE = 4;
/** How many records of a round are acknowledged before the gateway dies, and how long that may take at most. */
const ENOUGH = 300;
const WRITING_TIMEOUT = 20_000;
/** So many records at most of each client and round. */
const RECORDS_OF_A_CLIENT = 2000;

/** A record as REST shows it. */
type Row = Record<string, string | number> & { id: string; document_number: string };

/** The writes so far, by document number, which is unique to each record. */
interface Ledger {
  /** Writes that were sent, answered or not. */
  sent: Map<string, { customerId: string }>;
  /** Writes that the gateway has acknowledged. */
  acknowledged: Map<string, Row>;
}

describe("an embedded gateway that is killed while clients write", () => {
  const ledger: Ledger = { sent: new Map(), acknowledged: new Map() };
  let env: Env;
  let token: string;
  let gateway: Gateway;

  beforeAll(async () => {
    env = await freshEnv("the embedded database");
    gateway = await startGateway({ ...env, LOG_LEVEL: "warn" });
    token = await readDevToken(env);
  });
  afterAll(tidyUp);

  test.each(Array.from({ length: ROUNDS }, (_, n) => n + 1))(
    "has every acknowledged record with all its values when it starts again: round %i",
    async (round) => {
      const client = createClient(gateway.url, token);
      const before = ledger.acknowledged.size;
      const writers = Array.from({ length: CLIENTS_OF_A_SURFACE }, (_, n) => [
        writeUntilDeath(client, ledger, `R-${round}-${n}`, writeWithRest),
        writeUntilDeath(client, ledger, `G-${round}-${n}`, writeWithGraphql),
      ]).flat();
      const deadline = performance.now() + WRITING_TIMEOUT;
      while (ledger.acknowledged.size < before + ENOUGH && performance.now() < deadline) await wait(1);
      expect(await gateway.stop("SIGKILL")).toMatchObject({ signal: "SIGKILL" });
      const counts = await Promise.all(writers);
      expect(ledger.acknowledged.size).toBeGreaterThanOrEqual(before + ENOUGH);
      // Each client was writing at the moment of death.
      expect(counts.filter((count) => count === 0 || count === RECORDS_OF_A_CLIENT)).toEqual([]);
      expect(await socketsIn(env)).toHaveLength(1);

      gateway = await startGateway({ ...env, LOG_LEVEL: "warn" });
      const again = createClient(gateway.url, token);
      expect((await again.send("GET", "/ready")).status).toBe(200);
      const stored = await readAll(again);
      for (const [number, row] of ledger.acknowledged) {
        const found = stored.get(number);
        // The change that followed may have been stored without its answer.
        const { verification_status, updated_at } =
          row.verification_status === "pending" && found ? found : row;
        expect(found).toEqual({ ...row, verification_status, updated_at });
      }
      // A write in progress at the time of the kill is stored as it was sent, or not at all.
      for (const [number, row] of stored) {
        expect(row.customer_id).toBe(ledger.sent.get(number)?.customerId);
        ledger.acknowledged.set(number, row);
      }
      const { totalCount } = (await again.graphql("{ kycs(first: 0) { totalCount } }")).json.data.kycs;
      expect(totalCount).toBe(stored.size);
    },
  );
});

/** Makes one record, and hands over what each answer says of it. */
type Write = (
  client: Client,
  fields: { customerId: string; documentNumber: string },
  acknowledge: (row: Row) => void,
) => Promise<void>;

/** Makes records one after another until the gateway no longer answers; gives how many were acknowledged. */
async function writeUntilDeath(client: Client, ledger: Ledger, name: string, write: Write): Promise<number> {
  for (let n = 0; n < RECORDS_OF_A_CLIENT; n++) {
    const documentNumber = `${name}-${n}`;
    const customerId = `customer of ${documentNumber}`;
    ledger.sent.set(documentNumber, { customerId });
    try {
      await write(client, { customerId, documentNumber }, (row) =>
        ledger.acknowledged.set(documentNumber, row),
      );
    } catch (error) {
      if (isDeath(error)) return n;
      throw error;
    }
  }
  return RECORDS_OF_A_CLIENT;
}

/** The errors of fetch if the server ended before or during the answer. */
const isDeath = (error: unknown) =>
  error instanceof TypeError && ["fetch failed", "terminated"].includes(error.message);

const writeWithRest: Write = async (client, { customerId, documentNumber }, acknowledge) => {
  const made = await client.form("POST", "/v1/kyc", kycFields(customerId, documentNumber));
  expect(made.status).toBe(201);
  acknowledge(made.json);
  const changed = await client.form("PUT", `/v1/kyc/${made.json.id}`, { verification_status: "verified" });
  expect(changed.status).toBe(200);
  acknowledge(changed.json);
};

const writeWithGraphql: Write = async (client, fields, acknowledge) => {
  const { json } = await client.graphql(CREATE_KYC, fields);
  expect(json.errors).toBeUndefined();
  const { kyc } = json.data.createKyc;
  acknowledge({
    id: kyc.id,
    customer_id: kyc.customerId,
    verification_status: kyc.verificationStatus.toLowerCase(),
    document_type: kyc.documentType.toLowerCase(),
    document_number: kyc.documentNumber,
    created_at: Math.floor(Date.parse(kyc.createdAt) / 1000),
    updated_at: Math.floor(Date.parse(kyc.updatedAt) / 1000),
  });
};

async function readAll(client: Client): Promise<Map<string, Row>> {
  const rows = new Map<string, Row>();
  let path = "/v1/kyc?limit=100";
  for (let page = 0; page < 1000; page++) {
    const { status, json } = await client.send("GET", path);
    expect(status).toBe(200);
    for (const row of json.data as Row[]) rows.set(row.document_number, row);
    if (!json.has_more) return rows;
    path = `/v1/kyc?limit=100&starting_after=${json.data.at(-1).id}`;
  }
  throw new Error("the list has no end");
}

async function socketsIn(env: Env): Promise<string[]> {
  const entries = await readdir(env.DATA_DIR ?? "", { withFileTypes: true });
  return entries.filter((entry) => entry.isSocket()).map((entry) => entry.name);
}
