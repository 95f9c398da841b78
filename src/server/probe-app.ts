import type { FastifyInstance } from "fastify";
import type { RecordAnswered } from "./answered.ts";
import type { ProbeParts } from "./app-parts.ts";
import { createAddressOf } from "./client-address.ts";
import { nothingHere, sendRestFailure } from "./failures.ts";
import { registerHealth } from "./health.ts";
import { createHttpServer, MAX_HEADER_SIZE } from "./http-server.ts";
import { HttpConnections } from "./load/connections.ts";
import { watchMethods } from "./methods.ts";
import { addRequestHooks } from "./request-hooks.ts";

/**
 * The HTTP server of a process that only delivers webhooks: `/health`, `/ready` and `/metrics`. Its requests are not logged.
 */
export function createProbeApp(parts: ProbeParts): FastifyInstance {
  const { config, metrics } = parts;
  const app = createHttpServer(parts);
  observeStatements(parts);
  const record: RecordAnswered = ({ method, route, status, elapsed, failureCode }) => {
    metrics.observeRequest(method, route, status, elapsed / 1000);
    if (failureCode !== undefined) metrics.countFailure(route, failureCode);
  };
  const addressOf = createAddressOf(config.trustedProxies);
  const connections = new HttpConnections({ ...config, maxHeaderSize: MAX_HEADER_SIZE }, metrics);
  addRequestHooks(app, parts, { record, connections, addressOf });
  app.setErrorHandler(sendRestFailure);
  refuseUnknown(app);
  const answerOtherMethods = watchMethods(app);
  registerHealth(app, parts);
  answerOtherMethods();
  connections.guard(app);
  return app;
}

/** Answers with 404 if no route has the path of a request. */
export function refuseUnknown(app: FastifyInstance): void {
  app.setNotFoundHandler(() => {
    throw nothingHere();
  });
  app.addHook("onRequest", ({ is404 }, _reply, done) => {
    // Refuse before a body of any type is read.
    done(is404 ? nothingHere() : undefined);
  });
}

/** Measures and traces the statements of the pool. */
export function observeStatements({
  db,
  metrics,
  tracing,
}: Pick<ProbeParts, "db" | "metrics" | "tracing">): void {
  db.observe({
    waited: metrics.observeWait,
    statementEnded: (statement) => {
      metrics.observeStatement(statement);
      tracing?.statementEnded(statement);
    },
  });
}
