import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { AppError } from "../errors.ts";
import type { Metrics } from "../metrics.ts";
import { networkOf } from "./client-address.ts";

/** What a client is told of its limit, in headers and in GraphQL's extensions. */
interface RateLimit {
  /** Requests of one window. */
  limit: number;
  remaining: number;
  /** Seconds until the window ends. */
  reset: number;
}

declare module "fastify" {
  interface FastifyRequest {
    /** Null: there is no limit, or the request has not come to it. */
    rateLimit: RateLimit | null;
  }
}

export interface RateLimiter {
  /** Counts a request of a token, or without a good one. Fails with RATE_LIMITED if its window has none left. */
  count(request: FastifyRequest, reply: FastifyReply, tokenId?: string): Promise<void>;
}

const WINDOW = 60_000;
/** Tokens, and addresses, that are remembered: the ones that asked last. */
const REMEMBERED = 10_000;

/**
 * Limits the requests of each token to `limit` in a minute, and those without a good token of each address (of IPv6, each /64 network). A good token
 * is served whatever else comes from its address. This process counts for itself: several replicas allow so many each.
 */
export async function createRateLimiter(
  app: FastifyInstance,
  limit: number,
  metrics: Metrics,
): Promise<RateLimiter> {
  // Here, so that nobody loads it who has no limit.
  const { default: rateLimit } = await import("@fastify/rate-limit");
  await app.register(rateLimit, { global: false });
  const window = { max: limit, timeWindow: WINDOW, cache: REMEMBERED };
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

/** Counts a request whose token is not good. Fails with what it is refused with. */
export async function countFailed(
  { count }: RateLimiter,
  request: FastifyRequest,
  reply: FastifyReply,
  failure: Error,
): Promise<never> {
  if (failure instanceof AppError && failure.code === "UNAUTHENTICATED") await count(request, reply);
  throw failure;
}
