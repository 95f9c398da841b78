import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import type { Config } from "../../config/config.ts";
import { overloaded, toHttp } from "../../errors.ts";
import { renderGraphqlFailure } from "../../graphql/errors.ts";
import type { Metrics } from "../../metrics.ts";
import { renderFailure } from "../../rest/errors.ts";
import type { RecordAnswered } from "../answered.ts";
import type { AddressOf } from "../client-address.ts";
import { commonHeaders, OF_NO_ORIGIN } from "../headers.ts";
import { newRequestId } from "../refusals.ts";
import type { Tracing } from "../tracing.ts";
import type { Admission } from "./admission.ts";

interface ShedParts {
  config: Pick<Config, "corsOrigins">;
  admission: Admission;
  metrics: Metrics;
  isClosed(): boolean;
  record: RecordAnswered;
  addressOf: AddressOf;
  tracing?: Tracing | undefined;
}

type Exchange = [request: IncomingMessage, response: ServerResponse];

const METHODS = new Set(["GET", "POST", "PUT", "PATCH", "DELETE"]);
const FAILURE = overloaded();
const { status, headers } = toHttp(FAILURE);
const REST_BODY = JSON.stringify(renderFailure(FAILURE));

/** The time for refusals in one turn of the event loop, as a share of the rest of the turn. */
const SHARE = 0.05;
const SHORTEST_MS = 1;
const LONGEST_MS = 50;

/**
 * Refuses requests to both surfaces before Fastify sees them while there are too many; a refusal through Fastify takes
 * longer than an answer. Clients that retry immediately would still keep the gateway busy, so only a share of each turn is
 * used for refusals, and the other requests wait. A request that has waited is admitted if there is room by then.
 */
export function shedEarly(app: FastifyInstance, parts: ShedParts): void {
  const { admission, metrics } = parts;
  const [next] = app.server.listeners("request") as [(...exchange: Exchange) => void];
  let waiting: { exchange: Exchange; route: string }[] = [];
  let ended = 0;

  function answerSome(): void {
    const begun = performance.now();
    const until = begun + Math.min(Math.max((begun - ended) * SHARE, SHORTEST_MS), LONGEST_MS);
    // An admitted request occupies a slot only when its body has arrived.
    let room = admission.room();
    const excess = admission.excess() ?? "requests";
    let count = 0;
    for (const { exchange, route } of waiting) {
      if (room === 0 && performance.now() > until) break;
      count += 1;
      if (exchange[1].destroyed) continue;
      if (room > 0) {
        room -= 1;
        next(...exchange);
      } else {
        metrics.countShed(excess);
        refuse(exchange, route, parts);
      }
    }
    waiting = waiting.slice(count);
    ended = performance.now();
    if (waiting.length > 0) setImmediate(answerSome);
  }

  app.server.removeAllListeners("request");
  app.server.on("request", (...exchange: Exchange) => {
    const route = (waiting.length > 0 || admission.excess()) && routeOf(exchange[0], parts);
    if (!route) return next(...exchange);
    if (waiting.push({ exchange, route }) === 1) setImmediate(answerSome);
  });
}

/** The route of a request that can be refused here; undefined if it needs another answer. */
function routeOf({ method = "", url = "", headers }: IncomingMessage, parts: ShedParts): string | undefined {
  // The CORS plugin must answer a page of another origin.
  const isOfPage = headers.origin !== undefined && parts.config.corsOrigins.length > 0;
  if (isOfPage || parts.isClosed() || !METHODS.has(method)) return undefined;
  const [path] = url.split("?", 1);
  if (path === "/graphql" || path === "/v1/kyc" || path === "/v1/kyc/search" || path === "/v1/events")
    return path;
  return path?.startsWith("/v1/kyc/") ? "/v1/kyc/:id" : undefined;
}

function refuse(
  [request, response]: Exchange,
  route: string,
  { config, record, addressOf, tracing }: ShedParts,
): void {
  const came = performance.now();
  const requestId = newRequestId();
  const body = route === "/graphql" ? JSON.stringify(renderGraphqlFailure(FAILURE, requestId)) : REST_BODY;
  response.writeHead(status, {
    ...commonHeaders(request.headers, requestId),
    ...(config.corsOrigins.length > 0 && OF_NO_ORIGIN),
    ...headers,
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
  });
  response.end(body);
  record({
    ...{ requestId, address: addressOf(request), method: request.method as string, route, status },
    ...{ elapsed: performance.now() - came, context: undefined, observed: null },
    ...{ failureCode: FAILURE.code, span: tracing?.begin(request.headers) },
  });
}
