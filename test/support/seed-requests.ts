import { expect } from "vitest";

// The requests of the legacy documentation, as printed there.

/** The fields of a record in their order. */
export const PRINTED_FIELDS = [
  "id",
  "customer_id",
  "verification_status",
  "document_type",
  "document_number",
  "created_at",
  "updated_at",
];
export const PRINTED_FORM = {
  customer_id: "WAz8eIbvDR60rouK",
  verification_status: "pending",
  document_type: "passport",
  document_number: "123456789",
};

/** Sends a request with a token of an account that has no records; `curl -d` makes the form. */
type Send = (
  method: "GET" | "POST" | "PUT" | "DELETE",
  path: string,
  form?: Record<string, string>,
) => Promise<{ status: number; text: string }>;

/** Creates, retrieves, lists, updates and deletes a record. Fails at the first answer that is not as documented. */
export async function expectSeedAnswers(send: Send): Promise<void> {
  const created = await send("POST", "/v1/kyc", PRINTED_FORM);
  expect(created.status, created.text).toBe(201);
  const record = JSON.parse(created.text);
  expect(Object.keys(record)).toEqual(PRINTED_FIELDS);
  expect(record).toEqual({
    ...PRINTED_FORM,
    id: expect.stringMatching(/^[0-9A-Za-z]{16}$/),
    created_at: expect.any(Number),
    updated_at: record.created_at,
  });
  const path = `/v1/kyc/${record.id}`;
  expect(await send("GET", path)).toEqual({ status: 200, text: created.text });

  const list = JSON.stringify({ has_more: false, data: [record] });
  expect(await send("GET", "/v1/kyc?limit=10")).toEqual({ status: 200, text: list });
  const filters = "customer_id=WAz8eIbvDR60rouK&verification_status=pending";
  expect(await send("GET", `/v1/kyc?${filters}`)).toEqual({ status: 200, text: list });

  const updated = await send("PUT", path, { verification_status: "verified" });
  expect(updated.status, updated.text).toBe(200);
  const { updated_at } = JSON.parse(updated.text);
  expect(updated_at).toBeGreaterThanOrEqual(record.updated_at);
  const text = JSON.stringify({ ...record, verification_status: "verified", updated_at });
  expect(updated.text).toBe(text);
  expect(await send("GET", path)).toEqual({ status: 200, text });

  expect(await send("DELETE", path)).toEqual({ status: 200, text: `{"id":"${record.id}","deleted":true}` });
  expect((await send("GET", path)).status).toBe(404);
  expect(await send("GET", "/v1/kyc")).toEqual({ status: 200, text: '{"has_more":false,"data":[]}' });
}
