import type { FastifyInstance, FastifyReply } from "fastify";
import type { LoggedEvent } from "../context.ts";
import type { FieldFault } from "../errors.ts";
import { type Idle, listKycChanges } from "../kyc/list-kyc-changes.ts";
import { requireVersion } from "../kyc/version-condition.ts";
import { MAX_PAGE_SIZE } from "../paging/page-input.ts";
import { isKnown, readConditions, toExpected } from "./conditions.ts";
import { toSeconds } from "./kyc-body.ts";
import { readLimit } from "./list-params.ts";
import { ignoreTypeOfNothing, type RestAnswer, type RestRequest, readQuery } from "./requests.ts";

/** The parameters of the feed. `starting_after` is `after` as Stripe's libraries call it. */
export const EVENT_PARAMS = ["limit", "after", "starting_after", "wait"] as const;
export const LONGEST_WAIT_SECONDS = 30;

/** Every call of events, for the routes and the OpenAPI document. Paths are below `/v1/events`. */
export const EVENT_ROUTES = [
  { operation: "listEvents", methods: ["GET"], path: "/", handler: list },
] as const;

/** Adds the routes of events below the prefix that the app is registered under. `idleOf` is for requests that wait. */
export function registerEventRoutes(app: FastifyInstance, idleOf: (reply: FastifyReply) => Idle): void {
  ignoreTypeOfNothing(app);
  for (const { methods, path, handler } of EVENT_ROUTES) {
    app.route({
      method: [...methods],
      url: path,
      handler: async (request, reply) => {
        const { status, headers, body } = await handler(request, idleOf(reply));
        return reply.code(status).headers(headers).send(body);
      },
    });
  }
}

async function list(request: RestRequest, idle: Idle): Promise<RestAnswer> {
  const conditions = readConditions(request);
  const { values, faults } = readQuery(request, EVENT_PARAMS);
  const found: FieldFault[] = [...faults, ...conditions.faults];
  const invalid = (name: string, message: string) => found.push({ path: [name], kind: "invalid", message });
  const limit = readLimit(values.get("limit"));
  if (limit === undefined) invalid("limit", `must be an integer from 1 to ${MAX_PAGE_SIZE}`);
  const wait = readWait(values.get("wait"));
  if (wait === undefined) invalid("wait", `must be an integer from 0 to ${LONGEST_WAIT_SECONDS}: seconds`);
  const [after, startingAfter] = ["after", "starting_after"].map((name) => values.get(name));
  if (after !== undefined && startingAfter !== undefined)
    invalid("starting_after", "can't be used together with after");
  const input = {
    after: (after ?? startingAfter) as string | undefined,
    nameOfAfter: after === undefined ? "starting_after" : "events.after",
    ...{ limit: limit ?? 0, waitMs: 1000 * (wait ?? 0) },
  };
  const page = await listKycChanges(request.operationContext, input, found, idle);
  // A page has no tag.
  requireVersion(undefined, toExpected(conditions));
  if (isKnown(conditions, undefined)) return { status: 304, headers: {} };
  const { changes, hasMore, cursor } = page;
  const data = changes.map((change) => renderEvent(change));
  const body = { object: "list", url: "/v1/events", has_more: hasMore, data, next_after: cursor };
  return { status: 200, headers: {}, body };
}

function renderEvent({ event, cursor }: { event: LoggedEvent; cursor: string }) {
  return {
    id: cursor,
    object: "event",
    type: `kyc.${event.action}`,
    created: toSeconds(event.at),
    position: event.position,
    kyc_id: event.kycId,
    verification_status: event.statusAfter,
    previous_verification_status: event.statusBefore,
  };
}
export type ChangeBody = ReturnType<typeof renderEvent>;

function readWait(value: unknown): number | undefined {
  if (value === undefined) return 0;
  const seconds = typeof value === "string" && /^\d{1,3}$/.test(value) ? Number(value) : Number.NaN;
  return seconds <= LONGEST_WAIT_SECONDS ? seconds : undefined;
}
