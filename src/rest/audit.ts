import type { FastifyInstance } from "fastify";
import Negotiator from "negotiator";
import type { AuditEvent } from "../audit/event.ts";
import { listAuditEvents } from "../audit/list-audit-events.ts";
import { RequestRefusal } from "../errors.ts";
import { listKycHistory } from "../kyc/list-kyc-history.ts";
import { requireVersion } from "../kyc/version-condition.ts";
import type { PagedList } from "../paging/list.ts";
import { renderEvent, renderEventsAsCsv } from "./audit-body.ts";
import { AUDIT_PARAMS, HISTORY_PARAMS, readAuditFilter, readAuditPage } from "./audit-params.ts";
import { isKnown, readConditions, toExpected } from "./conditions.ts";
import { type RestAnswer, type RestRequest, readQuery } from "./requests.ts";

interface RecordRequest extends RestRequest {
  params: { id: string };
}

/** Every call that reads the trail. The routes and the OpenAPI document use this table. */
export const AUDIT_ROUTES = [
  {
    operation: "listKycHistory",
    methods: ["GET"],
    prefix: "/v1/kyc",
    path: "/:id/history",
    handler: history,
  },
  { operation: "listAuditEvents", methods: ["GET"], prefix: "/v1/audit_events", path: "/", handler: list },
] as const;

/** Adds the routes that read the trail and are below the prefix that the app is registered under. */
export function registerAuditRoutes(app: FastifyInstance): void {
  for (const { methods, prefix, path, handler } of AUDIT_ROUTES) {
    if (prefix !== app.prefix) continue;
    app.route<{ Params: { id: string } }>({
      method: [...methods],
      url: path,
      handler: async (request, reply) => {
        const { status, headers, body } = await handler(request);
        const vary = [reply.getHeader("vary"), "Accept"].flat().filter(Boolean).join(", ");
        return reply
          .code(status)
          .headers({ ...headers, vary })
          .send(body);
      },
    });
  }
}

async function history(request: RecordRequest): Promise<RestAnswer> {
  return answerPage(request, HISTORY_PARAMS, ({ page, faults }) =>
    listKycHistory(request.operationContext, request.params.id, page, faults),
  );
}

async function list(request: RestRequest): Promise<RestAnswer> {
  return answerPage(request, AUDIT_PARAMS, ({ page, filter, faults }) =>
    listAuditEvents(request.operationContext, { ...page, filter }, faults),
  );
}

type RequestedEvents = ReturnType<typeof readAuditPage> & Pick<ReturnType<typeof readAuditFilter>, "filter">;

/** The page as the client accepts it. Fails with 406 before anything is read. */
async function answerPage(
  request: RestRequest,
  known: readonly string[],
  read: (requested: RequestedEvents) => Promise<PagedList<AuditEvent>>,
): Promise<RestAnswer> {
  const type = negotiate(request.headers.accept);
  const conditions = readConditions(request);
  const params = readQuery(request, known);
  const { page, faults } = readAuditPage(params);
  const { filter, faults: ofFilter } = readAuditFilter(params);
  const events = await read({ page, filter, faults: [...faults, ...ofFilter, ...conditions.faults] });
  const { items, more } = await events.page();
  // A page has no tag.
  requireVersion(undefined, toExpected(conditions));
  if (isKnown(conditions, undefined)) return { status: 304, headers: {} };
  const headers = {
    "content-type":
      type === CSV ? `${CSV}; charset=utf-8; header=present` : "application/json; charset=utf-8",
    // CSV has no field for this. A URL of the next page would repeat what the client searched for.
    "has-more": String(more),
  };
  if (type === CSV) return { status: 200, headers, body: renderEventsAsCsv(items) };
  return { status: 200, headers, body: { has_more: more, data: items.map(renderEvent) } };
}

const CSV = "text/csv";
const JSON_TYPE = "application/json";
// A media range with a parameter matches only a type with the same parameter.
const PARAMETERS = ["", "; charset=utf-8", "; header=present", "; charset=utf-8; header=present"];
const OFFERED = [JSON_TYPE, `${JSON_TYPE}; charset=utf-8`, ...PARAMETERS.map((parameter) => CSV + parameter)];

/** The type of the answer, as RFC 9110 negotiates it; JSON if the client names none. */
function negotiate(accept: string | undefined): string {
  if (!accept) return JSON_TYPE;
  const [chosen] = new Negotiator({ headers: { accept } }).mediaTypes(OFFERED);
  if (chosen !== undefined) return chosen.startsWith(CSV) ? CSV : JSON_TYPE;
  throw new RequestRefusal(406, "not_acceptable", `Events are answered as ${JSON_TYPE} or ${CSV}.`);
}
