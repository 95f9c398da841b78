import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type AppError, type RequestRefusal, toHttp } from "../errors.ts";
import { createAnswer, type Live } from "./answer.ts";
import { createDocuments } from "./documents/document.ts";
import { loadTrustedDocuments } from "./documents/trusted-documents.ts";
import { createValidation } from "./documents/validation.ts";
import { codeOf, renderGraphqlFailure } from "./errors.ts";
import { wantsGraphiql } from "./graphiql/graphiql.ts";
import { EventStream } from "./live/event-stream.ts";
import { typeOfRefusal } from "./media-type.ts";
import { NO_OPERATION, type Observed } from "./observed.ts";
import type { GraphqlConfig } from "./settings.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The labels of a request for an operation; null for all other requests. */
    observed: Observed | null;
  }
}

export type SendStream = (reply: FastifyReply, stream: EventStream) => FastifyReply;

/**
 * Adds `/graphql`: GraphQL's answers, and GraphiQL for a browser that asks for a page. Fails with a ConfigError if the
 * manifest of trusted documents is not valid.
 */
export async function registerGraphql(
  app: FastifyInstance,
  options: Pick<GraphqlConfig, "introspection" | "queryLimits" | "persistedOperations"> & {
    /** Answers with the GraphiQL page; undefined: there is none. */
    sendGraphiql: ((reply: FastifyReply) => FastifyReply) | undefined;
    live: Live;
    /** Sends a stream as the answer, with the headers that the reply has. */
    sendStream: SendStream;
  },
): Promise<void> {
  const { queryLimits } = options;
  const validate = createValidation(options);
  const trusted = await loadTrustedDocuments(options.persistedOperations, validate, queryLimits.tokens);
  const answer = createAnswer(createDocuments(validate, queryLimits), queryLimits, trusted, options.live);
  app.route({
    method: ["GET", "POST"],
    url: "/graphql",
    handler: async (request, reply) => {
      if (options.sendGraphiql && wantsGraphiql(request)) return options.sendGraphiql(reply);
      request.observed = { operation: NO_OPERATION, outcome: "INTERNAL" };
      const { status, headers, mediaType, body, operation, outcome } = await answer(request);
      request.observed = { operation, outcome };
      reply.code(status).headers(headers).type(`${mediaType}; charset=utf-8`);
      return body instanceof EventStream ? options.sendStream(reply, body) : reply.send(body);
    },
  });
}

/** Answers a request that failed as a whole, before there was an operation. */
export function sendGraphqlFailure(
  failure: AppError | RequestRefusal,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const { status, headers } = toHttp(failure);
  if (request.observed) request.observed = { ...request.observed, outcome: codeOf(failure) };
  return reply
    .code(status)
    .headers(headers)
    .type(`${typeOfRefusal(request.headers.accept)}; charset=utf-8`)
    .send({
      ...renderGraphqlFailure(failure, request.id),
      ...(request.rateLimit && { extensions: { rateLimit: request.rateLimit } }),
    });
}
