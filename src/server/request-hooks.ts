import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { EventStream } from "../graphql/live/event-stream.ts";
import { withinSpan } from "../lib/span-scope.ts";
import type { RecordAnswered } from "./answered.ts";
import type { AppParts } from "./app-parts.ts";
import type { AddressOf } from "./client-address.ts";
import { commonHeaders } from "./headers.ts";
import type { HttpConnections } from "./load/connections.ts";
import { cutSlowReader, findHeaderFault } from "./refusals.ts";

/** Adds the hooks of every request. They take callbacks: what waits for nothing needs no promise. */
export function addRequestHooks(
  app: FastifyInstance,
  { config, isClosed, tracing }: AppParts,
  {
    record,
    connections,
    addressOf,
  }: { record: RecordAnswered; connections: HttpConnections; addressOf: AddressOf },
): void {
  app.addHook("onRequest", (request, reply, done) => {
    // Now: later the connection may have ended, and a socket that is closed has no address.
    request.clientAddress = addressOf(request.raw);
    reply.headers(commonHeaders(request.headers, request.id));
    request.span = tracing?.begin(request.headers);
    withinSpan(request.span, () => done(findHeaderFault(request.raw)));
  });
  app.addHook("onSend", (request, reply, payload, done) => {
    if (request.operationContext?.idempotency?.replayed) reply.header("idempotent-replayed", "true");
    if (payload instanceof EventStream) {
      connections.streamAnswer(request.raw, payload);
      // Nothing of the body is needed any more.
      request.body = undefined;
      // The request is answered: what follows is the stream's.
      request.isStreamed = true;
      recordAnswer(request, reply);
    } else connections.holdAnswer(request.raw, sizeOf(payload));
    cutSlowReader(reply.raw, config.sendTimeout);
    // Once the server accepts no connections, each connection ends after the answer that it waits for.
    if (isClosed()) reply.header("connection", "close");
    done(null, payload);
  });
  app.addHook("onResponse", (request, reply, done) => {
    if (!request.isStreamed) recordAnswer(request, reply);
    done();
  });

  function recordAnswer(request: FastifyRequest, reply: FastifyReply): void {
    const { id, method, observed, failureCode, span } = request;
    record({
      ...{ requestId: id, address: request.clientAddress, method, status: reply.statusCode, observed },
      ...{ failureCode, span },
      route: request.routeOptions.url ?? "unmatched",
      elapsed: reply.elapsedTime,
      context: request.operationContext,
    });
  }
}

/** The memory of an answer that is sent as a stream. Bytes. */
const STREAM_BYTES = 192 * 1024;

/** The memory of an answer until it is sent. Bytes. */
function sizeOf(payload: unknown): number {
  if (typeof payload === "string") return Buffer.byteLength(payload);
  if (Buffer.isBuffer(payload)) return payload.length;
  return payload === null || payload === undefined ? 0 : STREAM_BYTES;
}
