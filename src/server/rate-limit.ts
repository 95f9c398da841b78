import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { LRUCache } from "lru-cache";
import { AppError } from "../errors.ts";
import type { Metrics } from "../metrics.ts";

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

interface RateLimiter {
  /** Counts a request of a token, or without a good one. Fails with RATE_LIMITED where its window has no more. */
  count(request: FastifyRequest, reply: FastifyReply, tokenId?: string): Promise<void>;
  /** Whether the next request without a good token from where this one comes has none left. */
  isSpent(request: FastifyRequest): boolean;
}

const WINDOW = 60_000;
/** Tokens, and addresses, that are remembered: the ones that asked last. */
const REMEMBERED = 10_000;

/**
 * Limits the requests of each token to `limit` in a minute, and of each address for those that come without a good
 * token. It counts in this process: several replicas allow so many each.
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
  const ofAddress = app.createRateLimit(window);
  const spent = new LRUCache<string, true>({ max: REMEMBERED });

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
    if (tokenId === undefined) spent.set(request.ip, true, { ttl: state.ttl });
    const message = `More than ${limit} requests in a minute. Try again in ${reset} s.`;
    throw new AppError("RATE_LIMITED", message, { retryAfter: reset });
  };
  return { count, isSpent: (request) => spent.size > 0 && spent.has(request.ip) };
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
