import type { FastifyInstance, FastifyReply, onSendHookHandler } from "fastify";
import { hasReads, recordReads } from "../audit/record-reads.ts";
import { requireViewer } from "../auth/scopes.ts";
import type { Live } from "../graphql/answer.ts";
import { registerGraphiql } from "../graphql/graphiql/graphiql.ts";
import { registerGraphql, type SendStream, sendGraphqlFailure } from "../graphql/route.ts";
import { serveOwnAssets } from "../pages/assets.ts";
import { registerDocs } from "../pages/docs.ts";
import { registerLanding } from "../pages/landing.ts";
import { registerAuditRoutes } from "../rest/audit.ts";
import { registerEventRoutes } from "../rest/events.ts";
import { registerExportRoute } from "../rest/export.ts";
import { registerKycRoutes } from "../rest/kyc.ts";
import { registerOpenapi } from "../rest/openapi/openapi.ts";
import { ignoreTypeOfNothing } from "../rest/requests.ts";
import type { AppParts } from "./app-parts.ts";
import { registerDevelopmentToken } from "./development-token.ts";
import { createEntrance } from "./enter.ts";
import { replaceAnswer } from "./failures.ts";
import { findUpgradeFault } from "./header-faults.ts";
import type { Admission } from "./load/admission.ts";
import { createRateLimiter } from "./rate-limit.ts";

/** Adds both surfaces and, if they are switched on, their pages. */
export async function registerSurfaces(
  app: FastifyInstance,
  parts: AppParts,
  admission: Admission,
  sendStream: SendStream,
): Promise<void> {
  const { authenticate, config, devToken, now } = parts;
  const limiter =
    config.rateLimit > 0 ? await createRateLimiter(app, config.rateLimit, parts.metrics) : undefined;
  const { enterBy, reenter } = createEntrance(parts, admission, limiter);
  const own = await serveOwnAssets(app);
  if (devToken !== null) registerDevelopmentToken(app, { token: devToken, authenticate, now });
  const sendGraphiql = config.graphiql ? await registerGraphiql(app, own) : undefined;
  await app.register(async (graphql) => {
    graphql.addHook("onRequest", ({ headers }, _reply, done) => done(findUpgradeFault(headers)));
    graphql.addHook("onRequest", enterBy("graphql"));
    graphql.addHook("preHandler", reenter);
    graphql.setErrorHandler((error, request, reply) =>
      sendGraphqlFailure(replaceAnswer(error, request, reply), request, reply),
    );
    if (config.auditReads) graphql.addHook("onSend", holdUntilAudited);
    await registerGraphql(graphql, { ...config, sendGraphiql, live: serveLive(parts), sendStream });
  });
  const enterRest = (rest: FastifyInstance) => {
    rest.addHook("onRequest", enterBy("rest"));
    rest.addHook("preHandler", reenter);
    rest.addHook("onRequest", (request, _reply, done) => {
      requireViewer(request.operationContext.viewer);
      done();
    });
    if (config.auditReads) rest.addHook("onSend", holdUntilAudited);
  };
  const addKyc = async (rest: FastifyInstance) => {
    enterRest(rest);
    registerKycRoutes(rest);
    registerAuditRoutes(rest);
  };
  const addTrail = async (rest: FastifyInstance) => {
    enterRest(rest);
    ignoreTypeOfNothing(rest);
    registerAuditRoutes(rest);
  };
  const addEvents = async (rest: FastifyInstance) => {
    enterRest(rest);
    registerEventRoutes(rest, (reply) => (work, leave) => idle(admission, reply, work, leave));
  };
  const addExport = async (rest: FastifyInstance) => {
    enterRest(rest);
    registerExportRoute(rest, { most: config.maxExports, isClosed: parts.isDraining });
  };
  await app.register(addKyc, { prefix: "/v1/kyc" });
  await app.register(addTrail, { prefix: "/v1/audit_events" });
  await app.register(addEvents, { prefix: "/v1/events" });
  await app.register(addExport, { prefix: "/v1/export" });
  if (config.docs) {
    registerOpenapi(app);
    await registerDocs(app, config, own);
    registerLanding(app, config, own);
  }
}

/** Waits for a request's work, which `leave` ends early. Meanwhile the request does not count as in progress. */
async function idle<T>(
  admission: Admission,
  reply: FastifyReply,
  work: Promise<T>,
  leave: () => void,
): Promise<T> {
  reply.raw.once("close", leave);
  admission.pause(reply);
  try {
    return await work;
  } finally {
    reply.raw.off("close", leave);
    admission.resume(reply);
  }
}

/** How often a stream without events shows that it is alive, at most. Milliseconds. */
const PING_MS = 10_000;

/** How subscriptions are served, counted and logged. */
function serveLive({ config, log, metrics }: AppParts): Live {
  return {
    // A connection is cut if nothing is sent on it for `sendTimeout`.
    pingMs: Math.min(PING_MS, config.sendTimeout / 3),
    slowAfter: config.sendTimeout * 0.9,
    sent: (changes, milliseconds) => metrics.observeSent(changes, milliseconds / 1000),
    ended: ({ requestId, traceId, viewer }, reason, changes, milliseconds) => {
      metrics.countStreamEnd(reason);
      const { accountId: account, tokenId: token } = viewer ?? {};
      const ms = Math.round(milliseconds);
      log.info({ requestId, traceId, account, token, reason, changes, ms }, "stream ended");
    },
  };
}

/**
 * Sends an answer that shows or confirms document numbers once the trail has the event. One without a body shows none,
 * but its length can confirm one.
 */
const holdUntilAudited: onSendHookHandler = ({ operationContext, method }, reply, payload, done) => {
  if (method === "HEAD") operationContext?.reads?.shown.clear();
  if (!operationContext || !hasReads(operationContext)) return done(null, payload);
  // If the request was answered as late meanwhile, this answer is discarded.
  recordReads(operationContext).then(
    () => reply.sent || done(null, payload),
    (error) => reply.sent || done(error),
  );
};
