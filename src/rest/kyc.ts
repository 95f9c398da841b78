import type { IncomingHttpHeaders } from "node:http";
import type { FastifyInstance } from "fastify";
import type { OperationContext } from "../context.ts";
import type { FieldFault } from "../errors.ts";
import { createKyc } from "../kyc/create-kyc.ts";
import { deleteKyc } from "../kyc/delete-kyc.ts";
import { getKyc, kycNotFound } from "../kyc/get-kyc.ts";
import { DEFAULT_PAGE_SIZE, type ListKycsInput, MAX_PAGE_SIZE } from "../kyc/input.ts";
import { type DocumentType, isKycId, type Kyc, type VerificationStatus } from "../kyc/kyc.ts";
import { listKycs } from "../kyc/list-kycs.ts";
import type { ShownKyc } from "../kyc/show-kyc.ts";
import { updateKyc } from "../kyc/update-kyc.ts";
import { parseEtags, toEtag } from "./etag.ts";
import { allowOnly, parseBody, parseForm, type WireParams } from "./params.ts";
import { readReason } from "./reason.ts";

/** What this surface reads of a request. */
interface RestRequest {
  operationContext: OperationContext;
  url: string;
  headers: IncomingHttpHeaders;
  /** Bytes, where there is one. */
  body?: unknown;
}
interface RecordRequest extends RestRequest {
  params: { id: string };
}

/** What to answer with; a body is to be sent as JSON. */
interface RestAnswer {
  status: number;
  headers: Record<string, string>;
  body?: unknown;
}

const toSeconds = (millis: number) => Math.floor(millis / 1000);

/** The record as legacy clients know it: seven fields, times in whole Unix seconds. */
function renderKyc(kyc: ShownKyc) {
  return {
    id: kyc.id,
    customer_id: kyc.customerId,
    verification_status: kyc.verificationStatus,
    document_type: kyc.documentType,
    document_number: kyc.documentNumber,
    created_at: toSeconds(kyc.createdAt),
    updated_at: toSeconds(kyc.updatedAt),
  };
}

export type KycBody = ReturnType<typeof renderKyc>;

/** Adds the routes of records below the prefix that the app is registered under. */
export function registerKycRoutes(app: FastifyInstance): void {
  app.addHook("onRequest", ({ headers }, _reply, done) => {
    // Fastify refuses a malformed content type before it looks whether there is a body at all.
    const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
    if (!hasBody && headers["content-type"] !== undefined) delete headers["content-type"];
    done();
  });
  for (const { methods, path, handler } of KYC_ROUTES) {
    app.route<{ Params: { id: string } }>({
      method: [...methods],
      url: path,
      handler: async (request, reply) => {
        const { status, headers, body } = await handler(request);
        return reply.code(status).headers(headers).send(body);
      },
    });
  }
}

/** Every call of this surface, for those who serve it and those who describe it. Paths are below `/v1/kyc`. */
export const KYC_ROUTES = [
  { operation: "listKycs", methods: ["GET"], path: "/", handler: list },
  { operation: "createKyc", methods: ["POST"], path: "/", handler: create },
  { operation: "getKyc", methods: ["GET"], path: "/:id", handler: get },
  { operation: "updateKyc", methods: ["PUT", "PATCH", "POST"], path: "/:id", handler: update },
  { operation: "deleteKyc", methods: ["DELETE"], path: "/:id", handler: remove },
] as const;
export type RestOperation = (typeof KYC_ROUTES)[number]["operation"];

async function list(request: RestRequest): Promise<RestAnswer> {
  const { input, faults } = readList(readQuery(request, LIST_PARAMS));
  const { items, more } = await (await listKycs(request.operationContext, input, faults)).page();
  return { status: 200, headers: {}, body: { has_more: more, data: items.map(renderKyc) } };
}

async function create(request: RestRequest): Promise<RestAnswer> {
  const { values, faults } = withQueryFaults(request, readBody(request, CREATE_PARAMS));
  const kyc = await createKyc(
    request.operationContext,
    { customerId: values.get("customer_id") as string, ...readChanges(values), ...readReason(request) },
    faults,
  );
  const headers = { location: `/v1/kyc/${kyc.id}`, etag: toEtag(kyc.version) };
  return { status: 201, headers, body: renderKyc(kyc) };
}

async function get(request: RecordRequest): Promise<RestAnswer> {
  const known = readTags(request, "If-None-Match", []);
  const faults = [...readQuery(request, []).faults, ...known.faults];
  const kyc = await getKyc(request.operationContext, request.params.id, faults);
  if (!kyc) throw kycNotFound();
  const headers = { etag: toEtag(kyc.version) };
  if (known.versions === "any" || known.versions.includes(kyc.version)) return { status: 304, headers };
  return { status: 200, headers, body: renderKyc(kyc) };
}

async function update(request: RecordRequest): Promise<RestAnswer> {
  const { values, faults } = withQueryFaults(request, readBody(request, UPDATE_PARAMS));
  const ifMatch = readTags(request, "If-Match", "any");
  const kyc = await updateKyc(
    request.operationContext,
    { id: request.params.id, ...readChanges(values), ...expect(ifMatch.versions), ...readReason(request) },
    [...faults, ...findNested(values), ...ifMatch.faults],
    { given: listFixed(values), findChanged: (stored) => findChangedFixed(values, stored) },
  );
  return { status: 200, headers: { etag: toEtag(kyc.version) }, body: renderKyc(kyc) };
}

async function remove(request: RecordRequest): Promise<RestAnswer> {
  const { faults } = withQueryFaults(request, readBody(request, []));
  const ifMatch = readTags(request, "If-Match", "any");
  const id = await deleteKyc(
    request.operationContext,
    { id: request.params.id, ...expect(ifMatch.versions), ...readReason(request) },
    [...faults, ...ifMatch.faults],
  );
  return { status: 200, headers: {}, body: { id, deleted: true } };
}

const FILTERS = ["customer_id", "verification_status", "document_number"] as const;
export const LIST_PARAMS = ["limit", ...FILTERS, "starting_after", "ending_before"] as const;
const CHANGEABLE = ["verification_status", "document_type", "document_number"] as const;
export const CREATE_PARAMS = ["customer_id", ...CHANGEABLE] as const;
/** What a client may send back of a record that it fetched, but not change. */
const FIXED = ["id", "customer_id", "created_at", "updated_at"] as const;
export const UPDATE_PARAMS = [...CHANGEABLE, ...FIXED] as const;

function readQuery(request: RestRequest, known: readonly string[]): WireParams {
  const start = request.url.indexOf("?");
  return allowOnly(parseForm(start < 0 ? "" : request.url.slice(start + 1)), known, "query");
}

function readBody(request: RestRequest, known: readonly string[]): WireParams {
  return allowOnly(parseBody(request.headers["content-type"], request.body), known, "body");
}

function withQueryFaults(request: RestRequest, params: WireParams): WireParams {
  return { ...params, faults: [...params.faults, ...readQuery(request, []).faults] };
}

function readChanges(values: WireParams["values"]) {
  const type = values.get("document_type");
  return {
    verificationStatus: values.get("verification_status") as VerificationStatus,
    documentType: (typeof type === "string" ? canonicalDocumentType(type) : type) as DocumentType,
    documentNumber: values.get("document_number") as string,
  };
}

type Versions = number[] | "any";

function readTags(
  request: RestRequest,
  name: "If-Match" | "If-None-Match",
  absent: Versions,
): { versions: Versions; faults: FieldFault[] } {
  const header = request.headers[name.toLowerCase()];
  if (header === undefined) return { versions: absent, faults: [] };
  const versions = parseEtags(String(header));
  if (versions !== null) return { versions, faults: [] };
  const message = 'must be * or a list of entity tags such as "1"';
  return { versions: absent, faults: [{ path: [name], kind: "invalid", message }] };
}

function expect(versions: Versions): { expectedVersion?: number[] } {
  return versions === "any" ? {} : { expectedVersion: versions };
}

function readList({ values, faults }: WireParams): { input: ListKycsInput; faults: FieldFault[] } {
  const found = [...faults];
  const limit = values.get("limit") as string | undefined;
  const size = limit === undefined ? DEFAULT_PAGE_SIZE : /^\d{1,9}$/.test(limit) ? Number(limit) : 0;
  if (size < 1 || size > MAX_PAGE_SIZE) {
    found.push({
      path: ["first"],
      kind: "invalid",
      message: `must be an integer from 1 to ${MAX_PAGE_SIZE}`,
    });
  }
  const after = values.get("starting_after") as string | undefined;
  const before = values.get("ending_before") as string | undefined;
  for (const [name, id] of Object.entries({ after, before })) {
    if (id === undefined || isKycId(id)) continue;
    found.push({ path: [name], kind: "invalid", message: "must be the id of a record" });
  }
  if (after !== undefined && before !== undefined) {
    found.push({ path: ["before"], kind: "invalid", message: "can't be used together with starting_after" });
  }
  const filter = {
    customerId: values.get("customer_id") as string | undefined,
    verificationStatus: values.get("verification_status") as VerificationStatus | undefined,
    documentNumber: values.get("document_number") as string | undefined,
  };
  return { input: { [before === undefined ? "first" : "last"]: size, after, before, filter }, faults: found };
}

/** Lists and objects in the place of fields that can't change: nothing is made of them, however deep they are. */
function findNested(values: WireParams["values"]): FieldFault[] {
  return FIXED.filter((name) => typeof values.get(name) === "object" && values.get(name) !== null).map(
    (name) => ({
      path: [name],
      kind: "invalid",
      message: "must be a string or a number",
    }),
  );
}

/** Forms have no numbers: their times are the texts of those in JSON. */
function listFixed(values: WireParams["values"]) {
  const canonical = (value: unknown) => (typeof value === "number" ? String(value) : value);
  return FIXED.filter((name) => values.has(name)).map((name) => [name, canonical(values.get(name))] as const);
}

function findChangedFixed(values: WireParams["values"], stored: Kyc): FieldFault[] {
  const rendered = {
    ...{ id: stored.id, customer_id: stored.customerId },
    ...{ created_at: toSeconds(stored.createdAt), updated_at: toSeconds(stored.updatedAt) },
  };
  const equals = (value: unknown, field: string | number) =>
    value === field || (typeof field === "number" && value === String(field));
  return FIXED.filter((name) => values.has(name) && !equals(values.get(name), rendered[name])).map(
    (name) => ({
      path: [name],
      kind: "invalid",
      message: "can't be changed: leave it out, or send the stored value",
    }),
  );
}

/** The spellings that other providers use, by what they mean. */
const DOCUMENT_TYPE_ALIASES: Record<string, DocumentType> = {
  "driver's license": "drivers_license",
  "driver’s license": "drivers_license",
  driver_license: "drivers_license",
  driving_license: "drivers_license",
  driving_licence: "drivers_license",
  national_id: "id_card",
  national_identity_card: "id_card",
  identity_card: "id_card",
};

function canonicalDocumentType(text: string): string {
  const word = text.toLowerCase();
  return Object.hasOwn(DOCUMENT_TYPE_ALIASES, word) ? (DOCUMENT_TYPE_ALIASES[word] as string) : word;
}
