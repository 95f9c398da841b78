import type { OutgoingHttpHeaders } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { SendStream } from "../graphql/route.ts";
import { withinSpan } from "../lib/span-scope.ts";
import type { RecordAnswered } from "./answered.ts";
import type { ProbeParts } from "./app-parts.ts";
import type { AddressOf } from "./client-address.ts";
import { findHeaderFault } from "./header-faults.ts";
import { commonHeaders } from "./headers.ts";
import type { HttpConnections } from "./load/connections.ts";
import { cutSlowReader } from "./refusals.ts";

/**
 * Adds the hooks of every request. They use callbacks, because those that wait for nothing need no promise. Returns the
 * function that sends a stream of events as an answer.
 */
export function addRequestHooks(
  app: FastifyInstance,
  { config, isClosed, tracing }: ProbeParts,
  {
    record,
    connections,
    addressOf,
  }: { record: RecordAnswered; connections: HttpConnections; addressOf: AddressOf },
): SendStream {
  app.addHook("onRequest", (request, reply, done) => {
    // Read it now: later the socket may be closed, and then it has no address.
    request.clientAddress = addressOf(request.raw);
    reply.headers(commonHeaders(request.headers, request.id));
    request.span = tracing?.begin(request.headers);
    withinSpan(request.span, () => done(findHeaderFault(request.raw)));
  });
  app.addHook("onSend", (request, reply, payload, done) => {
    if (request.operationContext?.idempotency?.replayed) reply.header("idempotent-replayed", "true");
    connections.holdAnswer(request.raw, sizeOf(payload));
    beginAnswer(reply);
    done(null, payload);
  });
  app.addHook("onResponse", (request, reply, done) => {
    if (!request.isStreamed) recordAnswer(request, reply);
    done();
  });

  return (reply, stream) => {
    const { request, raw } = reply;
    reply.hijack();
    connections.streamAnswer(request.raw, stream.bytes + sizeOfVariables(request.body));
    beginAnswer(reply);
    raw.writeHead(reply.statusCode, reply.getHeaders() as OutgoingHttpHeaders);
    // Node keeps the answer's head in memory: sent separately, it is one string instead of forty parts.
    raw.flushHeaders();
    // The request is answered: what follows is the stream's.
    request.isStreamed = true;
    recordAnswer(request, reply);
    releaseParts(request);
    stream.sendTo(raw);
    return reply;
  };

  function beginAnswer(reply: FastifyReply): void {
    cutSlowReader(reply.raw, config.sendTimeout);
    // Once the server accepts no connections, each connection ends after the answer that it waits for.
    if (isClosed()) reply.header("connection", "close");
  }

  function recordAnswer(request: FastifyRequest, reply: FastifyReply): void {
    const { id, method, observed, failureCode, span } = request;
    record({
      ...{ requestId: id, address: request.clientAddress, method, status: reply.statusCode, observed },
      ...{ failureCode, span },
      route: request.routeOptions.url ?? request.refusedRoute ?? "unmatched",
      elapsed: reply.elapsedTime,
      context: request.operationContext,
    });
  }
}

/** Releases what a stream does not need, because the connection keeps the request until the stream ends. */
function releaseParts(request: FastifyRequest): void {
  const { raw } = request;
  request.body = undefined;
  request.query = undefined;
  Object.assign(request, { operationContext: undefined, rateLimit: null, observed: null });
  raw.rawHeaders = [];
  raw.headers = {};
  raw.url = "";
}

/** Bodies of streams with no more than this are not counted: almost all have less. */
const SMALL_BODY_BYTES = 2048;
/** The memory of a parsed body, for each of its bytes. */
const PARSED = 4;

/** The memory of the part of its request's body that a stream keeps. Bytes. */
function sizeOfVariables(body: unknown): number {
  return Buffer.isBuffer(body) && body.length > SMALL_BODY_BYTES ? PARSED * body.length : 0;
}

/** The memory of an answer that is sent as a stream. Bytes. */
const STREAM_BYTES = 192 * 1024;

/** The memory of an answer until it is sent. Bytes. */
function sizeOf(payload: unknown): number {
  if (typeof payload === "string") return Buffer.byteLength(payload);
  if (Buffer.isBuffer(payload)) return payload.length;
  return payload === null || payload === undefined ? 0 : STREAM_BYTES;
}
