import createClient from "openapi-fetch";
// Written by the test, from the document that a gateway serves.
import type { components, paths } from "./generated/openapi.d.ts";

/** Uses the generated types as a program would, from a record's creation to its deletion. */
export async function useEveryCall(baseUrl: string, token: string) {
  const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
  const body = {
    customer_id: "cus_generated",
    verification_status: "pending",
    document_type: "passport",
    document_number: "G1",
  } as const;

  const created = await client.POST("/v1/kyc", { body });
  const fromForm = await client.POST("/v1/kyc", {
    body,
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
  });
  if (!created.data || !fromForm.data) throw new Error("nothing was created");
  // A token that may not read gets the id and the version alone.
  if (!("customer_id" in created.data)) throw new Error("the token may not read");
  const record: components["schemas"]["Kyc"] = created.data;
  const path = { id: record.id };

  const list = await client.GET("/v1/kyc", {
    params: { query: { limit: 1, customer_id: "cus_generated", starting_after: fromForm.data.id } },
  });
  const ids: string[] | undefined = list.data?.data.map(({ id }) => id);
  const etag = created.response.headers.get("etag") ?? "";
  const updated = await client.PUT("/v1/kyc/{id}", {
    params: { path, header: { "If-Match": etag } },
    body: { verification_status: "verified" },
  });
  const conflict = await client.PATCH("/v1/kyc/{id}", {
    params: { path, header: { "If-Match": etag } },
    body: { verification_status: "failed" },
  });
  const found = await client.POST("/v1/kyc/search", { body: { document_number: "G1", limit: 1 } });
  const read = await client.GET("/v1/kyc/{id}", { params: { path } });
  const deleted = await client.DELETE("/v1/kyc/{id}", { params: { path } });
  const missing = await client.GET("/v1/kyc/{id}", { params: { path } });
  return {
    record,
    ids,
    updated: updated.data && "verification_status" in updated.data && updated.data.verification_status,
    conflict: conflict.error?.error.code,
    read: read.data,
    found: found.data?.data.length,
    deleted: deleted.data?.deleted,
    missing: missing.error?.error.message,
  };
}

/** Mistakes that the types detect. Each comment is an error itself if the line below it compiles. */
export async function neverRun(client: ReturnType<typeof createClient<paths>>) {
  // @ts-expect-error a filter of another type
  await client.POST("/v1/kyc/search", { body: { document_number: 1 } });
  // @ts-expect-error a parameter that there is not
  await client.GET("/v1/kyc", { params: { query: { offset: 1 } } });
  // @ts-expect-error a field that lacks
  await client.POST("/v1/kyc", { body: { customer_id: "c" } });
  // @ts-expect-error an address that there is not
  await client.GET("/v1/kycs");
  const { data } = await client.DELETE("/v1/kyc/{id}", { params: { path: { id: "x" } } });
  // @ts-expect-error a field that the answer has not
  return data?.customer_id;
}
