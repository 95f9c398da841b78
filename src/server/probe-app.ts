import type { FastifyInstance } from "fastify";
import type { RecordAnswered } from "./answered.ts";
import type { ProbeParts } from "./app-parts.ts";
import { createAddressOf } from "./client-address.ts";
import { sendRestFailure } from "./failures.ts";
import { registerHealth } from "./health.ts";
import { createHttpServer, MAX_HEADER_SIZE } from "./http-server.ts";
import { HttpConnections } from "./load/connections.ts";
import { addRequestHooks } from "./request-hooks.ts";
import { refuseUnmatched } from "./unmatched.ts";

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
  const answerOptions = refuseUnmatched(app);
  registerHealth(app, parts);
  answerOptions();
  connections.guard(app);
  return app;
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
