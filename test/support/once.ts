import { setTimeout as wait } from "node:timers/promises";
import type { TestApp } from "./app.ts";
import { goodInput } from "./records.ts";

/** A write, as either surface can be asked for it. Values are in GraphQL's words. */
export type Write =
  | { operation: "create"; input: typeof goodInput }
  | { operation: "update"; id: string; input: Partial<typeof goodInput>; expectedVersion?: number }
  | { operation: "delete"; id: string; expectedVersion?: number };
export type SurfaceName = "rest" | "graphql";
export const SURFACES: SurfaceName[] = ["rest", "graphql"];

/** The answer to a write, in the same form for both surfaces. */
export interface WriteAnswer {
  /** `OK`, or the code of the error. */
  code: string;
  replayed: boolean;
  /** The values of the record that both surfaces show, or the id of the deleted one. */
  result: unknown;
  id: string;
  /** The message of the error. */
  message?: string;
  /** Seconds, as the header says. */
  retryAfter?: unknown;
}

export const aCreate = (documentNumber: string): Write => ({
  operation: "create",
  input: { ...goodInput, documentNumber },
});

/** Sends a write to one of the surfaces, with a key if one is given. */
export function write(
  gateway: TestApp,
  surface: SurfaceName,
  token: string | null,
  wanted: Write,
  key?: string,
): Promise<WriteAnswer> {
  const headers: Record<string, string> = key === undefined ? {} : { "idempotency-key": key };
  return (surface === "rest" ? writeRest : writeGraphql)(gateway, token, wanted, headers);
}

/** How often a client repeats a request if the answer says that it should. */
const TRIES = 200;
/** The longest pause before it does. Asking more often would only take time from the first request. Milliseconds. */
const LONGEST_PAUSE = 40;

/** As `write`, by a client that asks again with its key while the first request runs. */
export async function writePatiently(
  ...[gateway, surface, ...asked]: Parameters<typeof write>
): Promise<WriteAnswer> {
  for (let n = 0; n < TRIES; n++) {
    const answer = await write(gateway, surface, ...asked);
    if (answer.code !== "IDEMPOTENCY_IN_PROGRESS") return answer;
    await wait(1 + Math.random() * Math.min(LONGEST_PAUSE, 10 * 2 ** n));
  }
  throw new Error("the first request has no end");
}

const FIELDS = "id customerId verificationStatus documentType documentNumber createdAt updatedAt version";
const DOCUMENTS = {
  create: `mutation ($input: CreateKycInput!) { createKyc(input: $input) { kyc { ${FIELDS} } } }`,
  update: `mutation ($input: UpdateKycInput!) { updateKyc(input: $input) { kyc { ${FIELDS} } } }`,
  delete: "mutation ($input: DeleteKycInput!) { deleteKyc(input: $input) { deletedId } }",
};

async function writeGraphql(
  gateway: TestApp,
  token: string | null,
  wanted: Write,
  headers: Record<string, string>,
): Promise<WriteAnswer> {
  const { operation, ...rest } = wanted;
  const { input = {}, ...target } = rest as { input?: object };
  const answer = await gateway.graphql(
    token,
    DOCUMENTS[operation],
    { input: { ...input, ...target } },
    headers,
  );
  const replayed = answer.headers["idempotent-replayed"] === "true";
  const retryAfter = answer.headers["retry-after"];
  const refused = { replayed, result: null, id: "", retryAfter };
  const [error] = answer.errors ?? [];
  if (error) return { ...refused, code: error.extensions.code, message: error.message };
  const payload = Object.values(answer.data)[0] as { kyc?: Record<string, string>; deletedId?: string };
  if (!payload.kyc) return { code: "OK", replayed, result: payload.deletedId, id: String(payload.deletedId) };
  const { createdAt = "", updatedAt = "", ...kyc } = payload.kyc;
  const seconds = (time: string) => Math.floor(Date.parse(time) / 1000);
  const result = { ...kyc, createdAt: seconds(createdAt), updatedAt: seconds(updatedAt) };
  return { code: "OK", replayed, result, id: String(kyc.id) };
}

const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

async function writeRest(
  gateway: TestApp,
  token: string | null,
  wanted: Write,
  keyHeaders: Record<string, string>,
): Promise<WriteAnswer> {
  const expected = "expectedVersion" in wanted ? wanted.expectedVersion : undefined;
  const headers = { ...keyHeaders, ...(expected !== undefined && { "if-match": `W/"${expected}"` }) };
  const fields = Object.entries("input" in wanted ? wanted.input : {});
  const json = Object.fromEntries(
    fields.map(([name, value]) => [snake(name), /^[A-Z_]+$/.test(value) ? value.toLowerCase() : value]),
  );
  const response =
    wanted.operation === "create"
      ? await gateway.rest(token, "POST", "/v1/kyc", { json, headers })
      : wanted.operation === "update"
        ? await gateway.rest(token, "PATCH", `/v1/kyc/${wanted.id}`, { json, headers })
        : await gateway.rest(token, "DELETE", `/v1/kyc/${wanted.id}`, { headers });
  const replayed = response.headers["idempotent-replayed"] === "true";
  const body = response.json();
  const retryAfter = response.headers["retry-after"];
  if (body.error) {
    const { message } = body.error;
    return { code: codeOf(body.error), replayed, result: null, id: "", message, retryAfter };
  }
  if (body.deleted) return { code: "OK", replayed, result: body.id, id: body.id };
  const result = {
    id: body.id,
    customerId: body.customer_id,
    verificationStatus: body.verification_status.toUpperCase(),
    documentType: body.document_type.toUpperCase(),
    documentNumber: body.document_number,
    version: Number(/^"(\d+)(-masked)?"$/.exec(String(response.headers.etag))?.[1]),
    createdAt: body.created_at,
    updatedAt: body.updated_at,
  };
  return { code: "OK", replayed, result, id: body.id };
}

function codeOf({ type, code }: { type: string; code: string }): string {
  if (type === "idempotency_error") return code.toUpperCase();
  if (code === "resource_missing") return "NOT_FOUND";
  if (code === "resource_held") return "LEGAL_HOLD";
  if (code === "resource_retained") return "RETENTION";
  const codes: Record<string, string> = {
    authentication_error: "UNAUTHENTICATED",
    permission_error: "FORBIDDEN",
    conflict_error: "VERSION_CONFLICT",
    invalid_request_error: "BAD_USER_INPUT",
  };
  return codes[type] ?? code.toUpperCase();
}
