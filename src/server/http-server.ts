import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from "fastify";
import type { OperationContext } from "../context.ts";
import type { RequestSpan } from "../lib/span-scope.ts";
import type { ProbeParts } from "./app-parts.ts";
import { sendRestFailure } from "./failures.ts";
import { MAX_HEADERS } from "./header-faults.ts";
import { commonHeaders } from "./headers.ts";
import { Upload } from "./load/upload.ts";
import { answerConnect, newRequestId, refuseConnection } from "./refusals.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Set on the routes of both surfaces, once the request's token is known to be valid or absent. */
    operationContext: OperationContext;
    /** The client's address, also behind trusted proxies. */
    clientAddress: string;
    /** Undefined: the request is not traced. */
    span: RequestSpan | undefined;
    /** The code of the failure that replaces the answer; undefined if none does, as if GraphQL's answer has errors. */
    failureCode: string | undefined;
    /** Whether its answer is a stream of events, which can last for days. */
    isStreamed: boolean;
  }
}

/** How long a client may take to send the headers of a request, at most. */
const HEADERS_TIMEOUT_MS = 10_000;
/** How often Node looks for slower connections. */
const SLOW_SWEEP_MS = 1000;
/** Of the request line and the headers together. Bytes. */
export const MAX_HEADER_SIZE = 16 * 1024;

/** The Fastify instance, without hooks and routes: it limits headers and times, and reads bodies as bytes. */
export function createHttpServer({ config, log }: Pick<ProbeParts, "config" | "log">): FastifyInstance {
  const app: FastifyInstance = Fastify({
    loggerInstance: log as FastifyBaseLogger,
    bodyLimit: config.bodyLimit,
    requestTimeout: config.receiveTimeout,
    keepAliveTimeout: config.keepAliveTimeout,
    genReqId: newRequestId,
    // A logger for each request would cost time, and few requests log more than one line: each line has the request's id.
    childLoggerFactory: (logger) => logger,
    // Fastify's own lines contain the URL, and a URL can contain anything.
    logController: new LogController({ disableRequestLogging: true }),
    // Longer than any URL that Node accepts: an id that is too long gets the same answer as any unknown id.
    routerOptions: { maxParamLength: MAX_HEADER_SIZE },
    // No hook runs for these.
    frameworkErrors: (error, request, reply) =>
      sendRestFailure(error, request, reply.headers(commonHeaders(request.headers, request.id))),
    // Otherwise Fastify loads its own compilers, which takes 7 % of the time of a start.
    schemaController: { compilersFactory: { buildValidator: refuseSchemas, buildSerializer: refuseSchemas } },
    clientErrorHandler: (error, socket) => refuseConnection(error, socket, config.sendTimeout),
    http: {
      maxHeaderSize: MAX_HEADER_SIZE,
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, config.receiveTimeout),
      connectionsCheckingInterval: SLOW_SWEEP_MS,
      // Node's own refusal has neither a body nor the security headers.
      requireHostHeader: false,
    },
  });
  // For the same reason. A server may ignore an unknown expectation.
  app.server.on("checkExpectation", (...exchange) => app.server.emit("request", ...exchange));
  answerConnect(app.server, config.sendTimeout);
  app.server.maxConnections = config.maxConnections;
  // Node drops further headers, perhaps a second Host among them: a request with more than `MAX_HEADERS` is refused.
  app.server.maxHeadersCount = MAX_HEADERS + 1;
  // Bodies reach the adapters as bytes: each surface reads its own content types.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", ({ raw }, _payload, done) =>
    (raw.upload ?? new Upload(raw, config.bodyLimit, () => {})).take(done),
  );
  app.decorateRequest("operationContext");
  app.decorateRequest("clientAddress", "");
  app.decorateRequest("rateLimit", null);
  app.decorateRequest("observed", null);
  app.decorateRequest("span", undefined);
  app.decorateRequest("failureCode", undefined);
  app.decorateRequest("isStreamed", false);
  return app;
}

/** No route has a JSON schema: the adapters read requests and write answers themselves. */
function refuseSchemas(): never {
  throw new Error("a route has a JSON schema, and there is no compiler for it");
}
