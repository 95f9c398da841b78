import type { IncomingHttpHeaders } from "node:http";
import type { FastifyInstance } from "fastify";
import type { OperationContext } from "../context.ts";
import { allowOnly, parseForm, type WireParams } from "./params.ts";

/** The parts of a request that this surface reads. */
export interface RestRequest {
  operationContext: OperationContext;
  url: string;
  headers: IncomingHttpHeaders;
  /** A Buffer if there is a body. */
  body?: unknown;
}

/** An answer. Its body is sent as JSON. */
export interface RestAnswer {
  status: number;
  headers: Record<string, string>;
  body?: unknown;
}

/** Makes the app ignore the content type of a request without a body, even a malformed one, which Fastify refuses. */
export function ignoreTypeOfNothing(app: FastifyInstance): void {
  app.addHook("onRequest", ({ headers }, _reply, done) => {
    const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
    if (!hasBody && headers["content-type"] !== undefined) delete headers["content-type"];
    done();
  });
}

/** The parameters in the query of the URL, with a fault for each unknown one. */
export function readQuery(request: RestRequest, known: readonly string[]): WireParams {
  const start = request.url.indexOf("?");
  return allowOnly(parseForm(start < 0 ? "" : request.url.slice(start + 1)), known, "query");
}
