import type { IncomingHttpHeaders } from "node:http";
import cors, { type FastifyCorsOptions } from "@fastify/cors";
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  type onRequestHookHandler,
  type onSendHookHandler,
  type preHandlerHookHandler,
} from "fastify";
import type { Logger } from "pino";
import type { Surface } from "../audit/event.ts";
import { hasReads, recordReads } from "../audit/record-reads.ts";
import type { Authenticate } from "../auth/authenticate.ts";
import { requireViewer } from "../auth/scopes.ts";
import type { Config } from "../config.ts";
import { type OperationContext, withholdAnswer } from "../context.ts";
import type { Database } from "../db/client.ts";
import { type AppError, RequestRefusal, toHttp } from "../errors.ts";
import { registerGraphiql } from "../graphql/graphiql/graphiql.ts";
import { registerGraphql, sendGraphqlFailure } from "../graphql/route.ts";
import { toIdempotencyRequest } from "../idempotency/key.ts";
import { runInTurn } from "../lib/turns.ts";
import { logFailure } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { serveOwnAssets } from "../pages/assets.ts";
import { registerDocs } from "../pages/docs.ts";
import { registerLanding } from "../pages/landing.ts";
import { renderFailure } from "../rest/errors.ts";
import { registerKycRoutes } from "../rest/kyc.ts";
import { registerOpenapi } from "../rest/openapi/openapi.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { createAnswerRecord, type RecordAnswered } from "./answered.ts";
import { type AddressOf, createAddressOf } from "./client-address.ts";
import { registerDevelopmentToken } from "./development-token.ts";
import { commonHeaders, EXPOSED_HEADERS } from "./headers.ts";
import { registerHealth } from "./health.ts";
import { type Admission, limitLoad } from "./load/admission.ts";
import { Connections } from "./load/connections.ts";
import { shedEarly } from "./load/shed-early.ts";
import { Upload } from "./load/upload.ts";
import { watchMethods } from "./methods.ts";
import { countFailed, createRateLimiter } from "./rate-limit.ts";
import {
  answerConnect,
  cutSlowReader,
  findHeaderFault,
  findUpgradeFault,
  newRequestId,
  refuseConnection,
  toFailure,
} from "./refusals.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Set on the routes of both surfaces, once the request's token is known to be good or absent. */
    operationContext: OperationContext;
    /** Of the client, behind the proxies that are trusted. */
    clientAddress: string;
  }
}

/** What the server is made of; everything is handed in, nothing is read from the environment. */
export interface AppParts {
  config: Pick<
    Config,
    "auditReads" | "bodyLimit" | "corsOrigins" | "graphiql" | "introspection" | "queryLimits"
  > &
    Pick<Config, "databaseUrl" | "docs" | "trustedProxies"> &
    Pick<Config, "unsentMemoryLimit" | "uploadMemoryLimit"> &
    Pick<Config, "keepAliveTimeout" | "maxConnections" | "rateLimit" | "receiveTimeout" | "sendTimeout"> &
    Pick<Config, "maxConcurrentRequests" | "maxEventLoopDelay" | "requestTimeout" | "persistedOperations">;
  db: Database;
  keys: Keyring;
  authenticate: Authenticate;
  log: Logger;
  metrics: Metrics;
  /** The token that GraphiQL and `/docs` get for a page key; null: none. */
  devToken: string | null;
  /** Whether the database is reachable and migrated. */
  isReady: () => Promise<boolean>;
  /** Whether it was told to stop. */
  isDraining: () => boolean;
  /** Whether nothing listens any more. */
  isDeaf: () => boolean;
  /** Epoch milliseconds. */
  now: () => number;
}

/** How long a client may take to send the headers of a request, at most. Milliseconds. */
const HEADERS_TIMEOUT = 10_000;
/** How often connections are looked for that are slower. Milliseconds. */
const SLOW_SWEEP = 1000;
/** So long a token that was good counts as good. With the time that a look-up counts it makes less than a second. Milliseconds. */
const MOMENT = 50;
/** Of the request line and the headers together. Bytes. */
const MAX_HEADER_SIZE = 16 * 1024;

/** The HTTP server with both surfaces, ready to listen. */
export async function createApp(parts: AppParts): Promise<FastifyInstance> {
  const { config, log } = parts;
  const app: FastifyInstance = Fastify({
    loggerInstance: log as FastifyBaseLogger,
    bodyLimit: config.bodyLimit,
    requestTimeout: config.receiveTimeout,
    keepAliveTimeout: config.keepAliveTimeout,
    genReqId: newRequestId,
    // Every request would pay for a logger of its own, and few write more than a line: lines name the request's id.
    childLoggerFactory: (logger) => logger,
    // Fastify's own lines hold the URL, and a URL can hold anything.
    logController: new LogController({ disableRequestLogging: true }),
    // Longer than any URL that Node takes: an id of whatever length is an id that nobody has.
    routerOptions: { maxParamLength: MAX_HEADER_SIZE },
    // No hook runs for these.
    frameworkErrors: (error, request, reply) =>
      sendRestFailure(error, request, reply.headers(commonHeaders(request.headers, request.id))),
    clientErrorHandler: (error, socket) => refuseConnection(error, socket, config.sendTimeout),
    http: {
      maxHeaderSize: MAX_HEADER_SIZE,
      headersTimeout: Math.min(HEADERS_TIMEOUT, config.receiveTimeout),
      connectionsCheckingInterval: SLOW_SWEEP,
      // Node's own refusal has neither a body nor the security headers.
      requireHostHeader: false,
    },
  });
  // For the same reason; a server may pass over what it does not know.
  app.server.on("checkExpectation", (...exchange) => app.server.emit("request", ...exchange));
  answerConnect(app.server, config.sendTimeout);
  app.server.maxConnections = config.maxConnections;
  // Beyond a number of headers Node would leave out the rest, and with it a second Host.
  app.server.maxHeadersCount = 0;
  // Bodies reach the adapters as bytes: each surface reads its own content types.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", ({ raw }, _payload, done) =>
    (raw.upload ?? new Upload(raw, config.bodyLimit, () => {})).take(done),
  );
  app.decorateRequest("operationContext");
  app.decorateRequest("clientAddress", "");
  app.decorateRequest("rateLimit", null);
  app.decorateRequest("observed", null);
  const record = createAnswerRecord(log, parts.metrics);
  const addressOf = createAddressOf(config.trustedProxies);
  const connections = new Connections({ ...config, maxHeaderSize: MAX_HEADER_SIZE }, parts.metrics);
  addRequestHooks(app, parts, { record, connections, addressOf });
  app.setErrorHandler(sendRestFailure);
  app.setNotFoundHandler(() => {
    throw nothingHere();
  });
  if (config.corsOrigins.length > 0) {
    const options = {
      origin: config.corsOrigins,
      methods: ["GET", "POST", "PUT", "PATCH", "DELETE"],
      exposedHeaders: EXPOSED_HEADERS,
      maxAge: 86_400,
    };
    // OPTIONS without a preflight's headers asks what the address allows.
    await app.register(cors, {
      delegator: (request: FastifyRequest, callback: (error: null, options: FastifyCorsOptions) => void) =>
        callback(null, { ...options, preflight: isPreflight(request) }),
    });
  }
  // Behind CORS: a page of another origin is to see why it was refused.
  app.addHook("onRequest", ({ is404 }, _reply, done) => {
    // Before there is a body to read, of whatever type.
    done(is404 ? nothingHere() : undefined);
  });
  const admission = limitLoad(app, config, parts.metrics);
  const answerOtherMethods = watchMethods(app);
  registerHealth(app, parts);
  await registerSurfaces(app, parts, admission);
  answerOtherMethods();
  shedEarly(app, { ...parts, admission, record, addressOf });
  connections.guard(app);
  return app;
}

const nothingHere = () => new RequestRefusal(404, "route_unknown", "There is nothing at this address.");

// Hooks with callbacks: what waits for nothing needs no promise.
function addRequestHooks(
  app: FastifyInstance,
  { config, isDeaf }: AppParts,
  {
    record,
    connections,
    addressOf,
  }: { record: RecordAnswered; connections: Connections; addressOf: AddressOf },
): void {
  app.addHook("onRequest", (request, reply, done) => {
    // Later the connection may have ended, and have no address any more.
    request.clientAddress = addressOf(request.raw);
    reply.headers(commonHeaders(request.headers, request.id));
    done(findHeaderFault(request.raw));
  });
  app.addHook("onSend", (request, reply, payload, done) => {
    if (request.operationContext?.idempotency?.replayed) reply.header("idempotent-replayed", "true");
    connections.holdAnswer(request.raw, sizeOf(payload));
    cutSlowReader(reply.raw, config.sendTimeout);
    // Once nothing listens, each connection ends with the answer that it waits for.
    if (isDeaf()) reply.header("connection", "close");
    done(null, payload);
  });
  app.addHook("onResponse", (request, reply, done) => {
    const { id, method, observed } = request;
    record({
      ...{ requestId: id, address: request.clientAddress, method, status: reply.statusCode, observed },
      route: request.routeOptions.url ?? "unmatched",
      elapsed: reply.elapsedTime,
      context: request.operationContext,
    });
    done();
  });
}

/** Of an answer that is read from a file while it is sent: what its streams hold at a time. Bytes. */
const STREAM_BYTES = 192 * 1024;

/** What an answer takes until it is sent. Bytes. */
function sizeOf(payload: unknown): number {
  if (typeof payload === "string") return Buffer.byteLength(payload);
  if (Buffer.isBuffer(payload)) return payload.length;
  return payload === null || payload === undefined ? 0 : STREAM_BYTES;
}

/** Adds both surfaces. */
async function registerSurfaces(app: FastifyInstance, parts: AppParts, admission: Admission): Promise<void> {
  const { authenticate, config, db, devToken, keys, log, now } = parts;
  const limiter =
    config.rateLimit > 0 ? await createRateLimiter(app, config.rateLimit, parts.metrics) : undefined;
  const enter = async (
    headers: IncomingHttpHeaders,
    surface: Surface,
    requestId: string,
  ): Promise<OperationContext> => {
    const { authorization } = headers;
    const enteredAt = performance.now();
    const viewer = await authenticate(authorization);
    const confirmViewer = async () => {
      if (performance.now() - enteredAt > MOMENT) await authenticate(authorization);
    };
    const reads = config.auditReads ? { shown: new Set<string>(), confirmed: new Set<string>() } : null;
    const idempotency = toIdempotencyRequest(headers["idempotency-key"]);
    return {
      ...{ db, keys, viewer, confirmViewer, surface, requestId, idempotency, reads, log, now },
      ...{ unreadable: [], fieldErrors: [] },
    };
  };
  const enterBy =
    (surface: Surface): onRequestHookHandler =>
    (request, reply, done) => {
      enter(request.headers, surface, request.id).then(
        (context) => {
          request.operationContext = context;
          admission.pause(reply);
          if (limiter) limiter.count(request, reply, context.viewer?.tokenId).then(() => done(), done);
          else done();
        },
        limiter ? (failure) => countFailed(limiter, request, reply, failure).catch(done) : done,
      );
    };
  // A body can take its time: what counts is that the token is good when the work begins.
  const reenter: preHandlerHookHandler = (request, reply, done) => {
    admission.resume(reply);
    const start = () => runInTurn(() => isWanted(reply) && done());
    if (reply.elapsedTime <= MOMENT) start();
    else authenticate(request.headers.authorization).then(start, done);
  };
  const own = await serveOwnAssets(app);
  if (devToken !== null) registerDevelopmentToken(app, { token: devToken, authenticate, now });
  const sendGraphiql = config.graphiql ? await registerGraphiql(app, own) : undefined;
  await app.register(async (graphql) => {
    graphql.addHook("onRequest", ({ headers }, _reply, done) => done(findUpgradeFault(headers)));
    graphql.addHook("onRequest", enterBy("graphql"));
    graphql.addHook("preHandler", reenter);
    graphql.setErrorHandler((error, request, reply) =>
      sendGraphqlFailure(giveUp(error, request, reply), request, reply),
    );
    if (config.auditReads) graphql.addHook("onSend", holdUntilAudited);
    await registerGraphql(graphql, { ...config, sendGraphiql });
  });
  await app.register(
    async (rest) => {
      rest.addHook("onRequest", enterBy("rest"));
      rest.addHook("preHandler", reenter);
      rest.addHook("onRequest", (request, _reply, done) => {
        requireViewer(request.operationContext.viewer);
        done();
      });
      if (config.auditReads) rest.addHook("onSend", holdUntilAudited);
      registerKycRoutes(rest);
    },
    { prefix: "/v1/kyc" },
  );
  if (config.docs) {
    registerOpenapi(app);
    await registerDocs(app, config, own);
    registerLanding(app, config, own);
  }
}

/** Whether a client still waits for this answer. */
function isWanted(reply: FastifyReply): boolean {
  return !reply.raw.destroyed && !reply.sent;
}

/**
 * Sends an answer that shows or confirms document numbers once the trail has the event. One without a body shows none,
 * but its length can confirm one.
 */
const holdUntilAudited: onSendHookHandler = ({ operationContext, method }, reply, payload, done) => {
  if (method === "HEAD") operationContext?.reads?.shown.clear();
  if (!operationContext || !hasReads(operationContext)) return done(null, payload);
  // If the request was answered as late meanwhile, this answer goes nowhere.
  recordReads(operationContext).then(
    () => reply.sent || done(null, payload),
    (error) => reply.sent || done(error),
  );
};

function sendRestFailure(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const failure = giveUp(error, request, reply);
  const { status, headers } = toHttp(failure);
  return reply.code(status).headers(headers).send(renderFailure(failure));
}

/** Whether a browser asks what a page of another origin may send. */
function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === "OPTIONS" && !!headers.origin && headers["access-control-request-method"] !== undefined;
}

/** What a route says of an answer that a failure replaces. */
const OF_THE_ANSWER = ["etag", "location", "idempotent-replayed", "content-type", "content-encoding"];

/** Gives up the answer, however far it has come: nothing of it stays. Tells what to answer instead. */
function giveUp(error: unknown, request: FastifyRequest, reply: FastifyReply): AppError | RequestRefusal {
  if (request.operationContext) withholdAnswer(request.operationContext, error);
  for (const name of OF_THE_ANSWER) reply.removeHeader(name);
  reply.header("cache-control", "no-store");
  const failure = toFailure(error);
  if (!(failure instanceof RequestRefusal)) logFailure(failure, { log: request.log, requestId: request.id });
  return failure;
}
