import type { FastifyReply, FastifyRequest } from "fastify";
import { withholdAnswer } from "../context.ts";
import { type AppError, RequestRefusal, toHttp } from "../errors.ts";
import { logFailure } from "../log.ts";
import { renderFailure } from "../rest/errors.ts";
import { toFailure } from "./refusals.ts";

export const nothingHere = () =>
  new RequestRefusal(404, "route_unknown", "There is nothing at this address.");

/** Sends a failure as REST does; also for requests outside both surfaces. */
export function sendRestFailure(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const failure = replaceAnswer(error, request, reply);
  const { status, headers } = toHttp(failure);
  return reply.code(status).headers(headers).send(renderFailure(failure));
}

/** Headers that describe an answer which a failure replaces. */
const ANSWER_HEADERS = ["etag", "location", "idempotent-replayed", "content-type", "content-encoding"];

/** Drops the answer that was being prepared, with its headers, and returns the failure to send instead. */
export function replaceAnswer(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): AppError | RequestRefusal {
  if (request.operationContext) withholdAnswer(request.operationContext, error);
  for (const name of ANSWER_HEADERS) reply.removeHeader(name);
  reply.header("cache-control", "no-store");
  const failure = toFailure(error);
  request.failureCode = failure.code;
  if (!(failure instanceof RequestRefusal)) {
    logFailure(failure, { log: request.log, requestId: request.id, traceId: request.span?.traceId });
  }
  return failure;
}
