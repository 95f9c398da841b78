import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { AppError } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import { networkOf } from "./client-address.ts";

/** The state of a client's limit, for headers and GraphQL's extensions. */
interface RateLimit {
  /** Requests of one window. */
  limit: number;
  remaining: number;
  /** Seconds until the window ends. */
  reset: number;
}

declare module "fastify" {
  interface FastifyRequest {
    /** Null if there is no limit or the request has not been counted yet. */
    rateLimit: RateLimit | null;
  }
}

export interface RateLimiter {
  /** Counts a request of a token, or of an address if there is no valid token. Fails with RATE_LIMITED at the limit. */
  count(request: FastifyRequest, reply: FastifyReply, tokenId?: string): Promise<void>;
}

const WINDOW_MS = 60_000;
/** Tokens and addresses that are remembered. The least recently used are dropped. */
const REMEMBERED = 10_000;

/**
 * Limits each token to `limit` requests in a minute, and each address (of IPv6, each /64 network) to as many without a valid
 * token. A valid token is served regardless of other requests from its address. Each process counts separately, so each
 * replica allows this many.
 */
export async function createRateLimiter(
  app: FastifyInstance,
  limit: number,
  metrics: Metrics,
): Promise<RateLimiter> {
  // Loaded here, because it is needed only if there is a limit.
  const { default: rateLimit } = await import("@fastify/rate-limit");
  await app.register(rateLimit, { global: false });
  const window = { max: limit, timeWindow: WINDOW_MS, cache: REMEMBERED };
  const keys = new WeakMap<FastifyRequest, string>();
  const ofToken = app.createRateLimit({ ...window, keyGenerator: (request) => keys.get(request) as string });
  const ofAddress = app.createRateLimit({
    ...window,
    keyGenerator: ({ clientAddress }) => networkOf(clientAddress),
  });

  const count: RateLimiter["count"] = async (request, reply, tokenId) => {
    if (tokenId !== undefined) keys.set(request, tokenId);
    const state = await (tokenId === undefined ? ofAddress : ofToken)(request);
    if (state.isAllowed) return;
    const { remaining, ttlInSeconds: reset, isExceeded } = state;
    request.rateLimit = { limit, remaining, reset };
    reply
      .header("ratelimit-limit", limit)
      .header("ratelimit-remaining", remaining)
      .header("ratelimit-reset", reset);
    if (!isExceeded) return;
    metrics.countLimited(tokenId === undefined ? "address" : "token");
    const message = `More than ${limit} requests in a minute. Try again in ${reset} s.`;
    throw new AppError("RATE_LIMITED", message, { retryAfter: reset });
  };
  return { count };
}

/** Counts a request whose token is not valid. Fails with `failure`, or with RATE_LIMITED at the limit. */
export async function countFailed(
  { count }: RateLimiter,
  request: FastifyRequest,
  reply: FastifyReply,
  failure: Error,
): Promise<never> {
  if (failure instanceof AppError && failure.code === "UNAUTHENTICATED") await count(request, reply);
  throw failure;
}
