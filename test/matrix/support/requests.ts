import { expect } from "vitest";
import { expectSeedAnswers } from "../../support/seed-requests.ts";
import { type Client, CREATE_KYC, kycFields } from "../../system/support/client.ts";

/** Fails unless the gateway answers the documented requests as documented. The client's account has no records. */
export async function expectSeedRequests(client: Client): Promise<void> {
  await expectSeedAnswers(async (method, path, form) => {
    const { status, text } = await (form ? client.form(method, path, form) : client.send(method, path));
    return { status, text };
  });
}

/**
 * Creates a record on each surface with an idempotency key, and repeats the request. Fails unless the answer is the
 * same and says that it is a replay. Returns the document numbers by the records' ids.
 */
export async function createOncePerSurface(client: Client): Promise<Map<string, string>> {
  const made = new Map<string, string>();
  const write = async (number: string, path: string, type: string, body: string) => {
    const headers = { "content-type": type, "idempotency-key": `key of ${number}` };
    const first = await client.send("POST", path, { headers, body });
    const again = await client.send("POST", path, { headers, body });
    expect(first.headers.get("idempotent-replayed"), first.text).toBeNull();
    expect(again.headers.get("idempotent-replayed"), again.text).toBe("true");
    expect([again.status, again.json]).toEqual([first.status, first.json]);
    made.set(first.json.id ?? first.json.data.createKyc.kyc.id, number);
  };
  const form = new URLSearchParams(kycFields("matrix", "REST-1")).toString();
  await write("REST-1", "/v1/kyc", "application/x-www-form-urlencoded", form);
  const variables = { customerId: "matrix", documentNumber: "GQL-1" };
  await write("GQL-1", "/graphql", "application/json", JSON.stringify({ query: CREATE_KYC, variables }));
  return made;
}

/** Fails unless the account has exactly these records, with these document numbers. */
export async function expectNumbers(client: Client, expected: ReadonlyMap<string, string>): Promise<void> {
  const { status, text, json } = await client.send("GET", "/v1/kyc?limit=100");
  expect(status, text).toBe(200);
  const found = json.data.map((row: { id: string; document_number: string }) => [
    row.id,
    row.document_number,
  ]);
  expect(new Map(found)).toEqual(expected);
}
