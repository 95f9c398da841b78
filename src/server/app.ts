import type { FastifyInstance } from "fastify";
import { createAnswerRecord } from "./answered.ts";
import type { AppParts } from "./app-parts.ts";
import { createAddressOf } from "./client-address.ts";
import { allowOrigins } from "./cors.ts";
import { sendRestFailure } from "./failures.ts";
import { registerHealth } from "./health.ts";
import { createHttpServer, MAX_HEADER_SIZE } from "./http-server.ts";
import { limitLoad } from "./load/admission.ts";
import { HttpConnections } from "./load/connections.ts";
import { shedEarly } from "./load/shed-early.ts";
import { observeStatements } from "./probe-app.ts";
import { addRequestHooks } from "./request-hooks.ts";
import { registerSurfaces } from "./surfaces.ts";
import { refuseUnmatched } from "./unmatched.ts";

/** The HTTP server with both surfaces, ready to listen. Hooks run in the order in which they are added here. */
export async function createApp(parts: AppParts): Promise<FastifyInstance> {
  const { config, log, metrics } = parts;
  const app = createHttpServer(parts);
  observeStatements(parts);
  metrics.watchFollowers(parts.logs.figures);
  const record = createAnswerRecord(log, metrics, parts.tracing);
  const addressOf = createAddressOf(config.trustedProxies);
  const connections = new HttpConnections({ ...config, maxHeaderSize: MAX_HEADER_SIZE }, metrics);
  const sendStream = addRequestHooks(app, parts, { record, connections, addressOf });
  app.setErrorHandler(sendRestFailure);
  await allowOrigins(app, config.corsOrigins);
  // After CORS: a page of another origin may see why its request was refused.
  const answerOptions = refuseUnmatched(app);
  const admission = limitLoad(app, config, metrics);
  registerHealth(app, parts);
  await registerSurfaces(app, parts, admission, sendStream);
  answerOptions();
  shedEarly(app, { ...parts, admission, record, addressOf });
  connections.guard(app);
  return app;
}
