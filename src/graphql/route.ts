import { isUtf8 } from "node:buffer";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Config } from "../config.ts";
import { type AppError, RequestRefusal, toHttp } from "../errors.ts";
import { ID_NAMES, loadTrustedDocuments } from "./documents/trusted-documents.ts";
import { createValidation } from "./errors.ts";
import { createFastPath } from "./fast-path.ts";
import { wantsGraphiql } from "./graphiql.ts";
import { NO_OPERATION, type Observed } from "./observed.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Set where the request was for GraphQL's answer, and has it. */
    observed: Observed | null;
  }
}

/**
 * Adds `/graphql`: GraphQL's answers, and GraphiQL for a browser that asks for a page. Fails with a ConfigError if the
 * manifest of trusted documents is not valid.
 */
export async function registerGraphql(
  app: FastifyInstance,
  options: Pick<Config, "introspection" | "queryLimits" | "persistedOperations"> & {
    /** Answers with the GraphiQL page; undefined: there is none. */
    sendGraphiql: ((reply: FastifyReply) => FastifyReply) | undefined;
  },
): Promise<void> {
  const { queryLimits } = options;
  const validate = createValidation(options);
  const trusted = await loadTrustedDocuments(options.persistedOperations, validate, queryLimits.tokens);
  const openYoga = once(async () => {
    const { createGraphqlServer } = await import("./yoga.ts");
    return createGraphqlServer(validate, queryLimits, trusted);
  });
  // Most requests go by it, and it takes longer to load than anything else: a start need not wait for it.
  app.addHook("onListen", (done) => {
    setTimeout(() => openYoga().catch(() => {}), SOON).unref();
    done();
  });
  const fastPath = createFastPath(validate, queryLimits, trusted);
  app.route({
    method: ["GET", "POST"],
    url: "/graphql",
    handler: async (request, reply) => {
      const fast = request.method === "POST" && request.url === "/graphql" ? await fastPath(request) : null;
      if (fast) {
        const { status, headers, mediaType, body } = fast;
        request.observed = fast;
        return reply.code(status).headers(headers).type(`${mediaType}; charset=utf-8`).send(body);
      }
      if (options.sendGraphiql && wantsGraphiql(request)) return options.sendGraphiql(reply);
      requireJson(request);
      requireReadable(request.url);
      const observed: Observed = { operation: NO_OPERATION, outcome: "OK" };
      request.observed = observed;
      const yoga = await openYoga();
      const response = await yoga.fetch(
        new Request(`http://gateway/graphql${searchOf(request.url)}`, toInit(request)),
        {
          ...request.operationContext,
          ...{ observed, told: request.rateLimit ? { rateLimit: request.rateLimit } : {} },
        },
      );
      // Yoga says nothing more then.
      if (response.status === 406) throw new RequestRefusal(406, "not_acceptable", NOT_ACCEPTABLE);
      reply.code(response.status);
      for (const [name, value] of response.headers)
        if (!OF_A_STREAM.has(name.toLowerCase())) reply.header(name, value);
      return reply.send(Buffer.from(await response.arrayBuffer()));
    },
  });
}

/** Milliseconds. */
const SOON = 500;

/** The work, done at the first call and again only where that has failed. */
function once<T>(work: () => Promise<T>): () => Promise<T> {
  let known: Promise<T> | undefined;
  return () => {
    known ??= work().catch((error) => {
      known = undefined;
      throw error;
    });
    return known;
  };
}

const NOT_ACCEPTABLE = "GraphQL is answered as application/json or application/graphql-response+json.";

/** What Yoga says of answers in parts, which are sent in one here, with their length. */
const OF_A_STREAM = new Set(["connection", "content-encoding", "transfer-encoding"]);

/** Browsers post forms and plain text across origins without asking; nothing else needs those types here. */
function requireJson(request: FastifyRequest): void {
  if (!Buffer.isBuffer(request.body) || request.body.length === 0) return;
  const type = request.headers["content-type"]?.split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json")
    throw new RequestRefusal(415, "content_type_unsupported", "The body must be application/json.");
  // What decodes it would write U+FFFD into the record instead.
  if (!isUtf8(request.body)) throw new RequestRefusal(400, "request_malformed", "The body is not UTF-8.");
}

/** What reads an address would write U+FFFD in place of what it can't read, and take one of several values. */
function requireReadable(url: string): void {
  const names = new Set<string>();
  for (const pair of searchOf(url).slice(1).split("&")) {
    const name = decode(pair.split("=", 1)[0] as string);
    decode(pair);
    if (PARAMETERS.has(name) && names.has(name))
      throw new RequestRefusal(400, "request_malformed", `The parameter ${name} is there more than once.`);
    names.add(name);
  }
}

const PARAMETERS = new Set(["query", "operationName", "variables", "extensions", ...ID_NAMES]);

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RequestRefusal(400, "request_malformed", "The address is not percent-encoded UTF-8.");
  }
}

/** The query of an address, whatever a client writes before its path: a whole URL may come, credentials included. */
function searchOf(url: string): string {
  const start = url.indexOf("?");
  return start === -1 ? "" : url.slice(start);
}

function toInit(request: FastifyRequest): RequestInit {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) headers.set(name, String(value));
  // Fastify leaves the body out of an answer to HEAD.
  const init: RequestInit = { method: request.method === "HEAD" ? "GET" : request.method, headers };
  if (Buffer.isBuffer(request.body) && request.body.length > 0) {
    init.body = new Uint8Array(request.body);
    // It is, in whatever letters.
    headers.set("content-type", "application/json");
  }
  return init;
}

/** Answers a request that failed as a whole, before there was an operation. */
export function sendGraphqlFailure(
  failure: AppError | RequestRefusal,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const { status, headers } = toHttp(failure);
  return reply
    .code(status)
    .headers(headers)
    .send({
      ...renderGraphqlFailure(failure, request.id),
      ...(request.rateLimit && { extensions: { rateLimit: request.rateLimit } }),
    });
}

/** The body of the answer to a request that failed as a whole. */
export function renderGraphqlFailure(failure: AppError | RequestRefusal, requestId: string): object {
  const code = failure instanceof RequestRefusal ? "BAD_USER_INPUT" : failure.code;
  return { errors: [{ message: failure.message, extensions: { code, requestId } }] };
}
