import cors, { type FastifyCorsOptions } from "@fastify/cors";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { EXPOSED_HEADERS } from "./headers.ts";

/** Lets pages of these origins use the gateway. Without any, browsers allow no other origin. */
export async function allowOrigins(app: FastifyInstance, origins: string[]): Promise<void> {
  if (origins.length === 0) return;
  const options = {
    origin: origins,
    methods: ["GET", "POST", "PUT", "PATCH", "DELETE"],
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: 86_400,
  };
  // OPTIONS without a preflight's headers asks for the methods of the path.
  await app.register(cors, {
    delegator: (request: FastifyRequest, callback: (error: null, options: FastifyCorsOptions) => void) =>
      callback(null, { ...options, preflight: isPreflight(request) }),
  });
}

/** Whether a browser asks what a page of another origin may send. */
function isPreflight({ method, headers }: FastifyRequest): boolean {
  return method === "OPTIONS" && !!headers.origin && headers["access-control-request-method"] !== undefined;
}
