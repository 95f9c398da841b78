import type { FastifyInstance } from "fastify";
import { createKyc } from "../kyc/create-kyc.ts";
import { deleteKyc } from "../kyc/delete-kyc.ts";
import { type FieldOfRest, type RestName, restNames } from "../kyc/fields.ts";
import { getKyc, kycNotFound } from "../kyc/get-kyc.ts";
import { listKycs } from "../kyc/list-kycs.ts";
import type { ShownKyc } from "../kyc/show-kyc.ts";
import { updateKyc } from "../kyc/update-kyc.ts";
import { requireVersion } from "../kyc/version-condition.ts";
import type { PagedList } from "../paging/list.ts";
import { DOCUMENT_TYPE_WORDS, STATUS_WORDS, toWord } from "../spellings.ts";
import { isKnown, readConditions, toExpected, toExpectedOfNone, toUnwanted } from "./conditions.ts";
import { toEtag } from "./etag.ts";
import { FIXED, findChangedFixed, readFixed } from "./fixed-fields.ts";
import { renderKyc, renderListed, renderWritten } from "./kyc-body.ts";
import { LIST_PARAMS, readList } from "./list-params.ts";
import { allowOnly, parseBody, type WireParams } from "./params.ts";
import { readReason } from "./reason-header.ts";
import { ignoreTypeOfNothing, type RestAnswer, type RestRequest, readQuery } from "./requests.ts";
import { flattenBounds } from "./time-bounds.ts";

interface RecordRequest extends RestRequest {
  params: { id: string };
}

/** Adds the routes of records below the prefix that the app is registered under. */
export function registerKycRoutes(app: FastifyInstance): void {
  ignoreTypeOfNothing(app);
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

/** Every call of this surface. The routes and the OpenAPI document use this table. Paths are below `/v1/kyc`. */
export const KYC_ROUTES = [
  { operation: "listKycs", methods: ["GET"], path: "/", handler: list },
  { operation: "createKyc", methods: ["POST"], path: "/", handler: create },
  { operation: "searchKycs", methods: ["POST"], path: "/search", handler: search },
  { operation: "getKyc", methods: ["GET"], path: "/:id", handler: get },
  { operation: "updateKyc", methods: ["PUT", "PATCH", "POST"], path: "/:id", handler: update },
  { operation: "deleteKyc", methods: ["DELETE"], path: "/:id", handler: remove },
] as const;

async function list(request: RestRequest): Promise<RestAnswer> {
  const conditions = readConditions(request);
  const { input, faults } = readList(readQuery(request, LIST_PARAMS));
  const kycs = await listKycs(request.operationContext, input, [...faults, ...conditions.faults]);
  // A page has no tag.
  requireVersion(undefined, toExpected(conditions));
  return isKnown(conditions, undefined) ? { status: 304, headers: {} } : renderPage(kycs);
}

async function search(request: RestRequest): Promise<RestAnswer> {
  const conditions = readConditions(request);
  const { input, faults } = readList(withQueryFaults(request, readSearch(request)));
  const kycs = await listKycs(request.operationContext, input, [...faults, ...conditions.faults]);
  requireVersion(undefined, toExpectedOfNone(conditions));
  return renderPage(kycs);
}

async function renderPage(kycs: PagedList<ShownKyc>): Promise<RestAnswer> {
  const { items, more } = await kycs.page();
  return { status: 200, headers: {}, body: { has_more: more, data: items.map(renderListed) } };
}

async function create(request: RestRequest): Promise<RestAnswer> {
  const conditions = readConditions(request);
  const { values, faults } = withQueryFaults(request, readBody(request, CREATE_PARAMS));
  const kyc = await createKyc(
    request.operationContext,
    {
      customerId: values.get("customer_id") as string,
      ...readChanges(values),
      ...toExpectedOfNone(conditions),
      ...readReason(request),
    },
    [...faults, ...conditions.faults],
  );
  const headers = { location: `/v1/kyc/${kyc.id}`, etag: toEtag(kyc) };
  return { status: 201, headers, body: renderWritten(kyc) };
}

async function get(request: RecordRequest): Promise<RestAnswer> {
  const conditions = readConditions(request);
  const faults = [...readQuery(request, []).faults, ...conditions.faults];
  const kyc = await getKyc(request.operationContext, request.params.id, faults);
  if (!kyc) throw kycNotFound();
  requireVersion(kyc, toExpected(conditions));
  const headers = { etag: toEtag(kyc) };
  if (isKnown(conditions, kyc.version)) return { status: 304, headers };
  return { status: 200, headers, body: renderKyc(kyc) };
}

async function update(request: RecordRequest): Promise<RestAnswer> {
  const conditions = readConditions(request);
  const { values, faults } = withQueryFaults(request, readBody(request, UPDATE_PARAMS));
  const fixed = readFixed(values);
  const kyc = await updateKyc(
    request.operationContext,
    {
      ...{ id: request.params.id, ...readChanges(values), ...readReason(request) },
      ...toExpected(conditions),
      ...toUnwanted(conditions),
    },
    [...faults, ...conditions.faults, ...fixed.faults],
    { given: fixed.given, findChanged: (stored) => findChangedFixed(values, stored) },
  );
  return { status: 200, headers: { etag: toEtag(kyc) }, body: renderWritten(kyc) };
}

async function remove(request: RecordRequest): Promise<RestAnswer> {
  const conditions = readConditions(request);
  const { faults } = withQueryFaults(request, readBody(request, []));
  const id = await deleteKyc(
    request.operationContext,
    {
      ...{ id: request.params.id, ...readReason(request) },
      ...toExpected(conditions),
      ...toUnwanted(conditions),
    },
    [...faults, ...conditions.faults],
  );
  return { status: 200, headers: {}, body: { id, deleted: true } };
}

const CHANGEABLE = restNames("always");
export const CREATE_PARAMS = [...restNames("once"), ...CHANGEABLE];
export const UPDATE_PARAMS = [...CHANGEABLE, ...FIXED];

function readBody(request: RestRequest, known: readonly string[]): WireParams {
  return allowOnly(parseBody(request.headers["content-type"], request.body), known, "body");
}

function readSearch(request: RestRequest): WireParams {
  const params = parseBody(request.headers["content-type"], request.body);
  return allowOnly(flattenBounds(params, "created"), LIST_PARAMS, "body");
}

function withQueryFaults(request: RestRequest, params: WireParams): WireParams {
  return { ...params, faults: [...params.faults, ...readQuery(request, []).faults] };
}

function readChanges(values: WireParams["values"]) {
  return {
    verificationStatus: toWord(STATUS_WORDS, values.get("verification_status")),
    documentType: toWord(DOCUMENT_TYPE_WORDS, values.get("document_type")),
    documentNumber: values.get("document_number") as string,
  } satisfies Record<FieldOfRest<RestName<"always">>, unknown>;
}
