import { setTimeout as wait } from "node:timers/promises";
import { expect } from "vitest";
import { type Client, CREATE_KYC, createClient, kycFields } from "./client.ts";

/** How many keys each client goes through at least, and how long one may take. */
const KEYS_OF_A_CLIENT = 25;
const KEY_TIMEOUT = 60_000;

/** An answer that was a success: the record, and whether it was made for an earlier request. */
export interface Created {
  id: string;
  replayed: boolean;
}

/** All successful answers, by the key. */
export type Seen = Map<string, Created[]>;

/** Sends a create once through one surface; null if no final answer arrived. */
export async function create(client: Client, surface: number, key: string): Promise<Created | null> {
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

/**
 * Goes through keys as a careful client does: the same one again, at any of the gateways, until it has two answers.
 * Each key is the document number of its record, too.
 */
export async function createRepeatedly(
  name: string,
  seen: Seen,
  { gateways, token, isOver }: { gateways: readonly { url: string }[]; token: string; isOver(): boolean },
): Promise<void> {
  for (let n = 0; n < KEYS_OF_A_CLIENT || !isOver(); n++) {
    const key = `${name}-${n}`;
    const answers: Created[] = [];
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

/** Fails if a key has no record or several, or if an answer named another one. */
export async function expectOneRecordEach(seen: Seen, client: Client): Promise<void> {
  const stored = await readIds(client);
  expect([...stored.keys()].sort()).toEqual([...seen.keys()].sort());
  for (const [key, answers] of seen) {
    const ids = stored.get(key);
    expect(ids).toHaveLength(1);
    for (const { id } of answers) expect(id).toBe(ids?.[0]);
    // The first answer may have been lost.
    expect(answers.filter(({ replayed }) => !replayed).length).toBeLessThanOrEqual(1);
  }
}

/** The ids of all records by their document numbers. */
async function readIds(client: Client): Promise<Map<string, string[]>> {
  const ids = new Map<string, string[]>();
  for (let path = "/v1/kyc?limit=100"; ; ) {
    const { json } = await client.send("GET", path);
    for (const { id, document_number: number } of json.data)
      ids.set(number, [...(ids.get(number) ?? []), id]);
    if (!json.has_more) return ids;
    path = `/v1/kyc?limit=100&starting_after=${json.data.at(-1).id}`;
  }
}
