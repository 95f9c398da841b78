import { LRUCache } from "lru-cache";
import type { Database } from "../db/client.ts";
import { AppError } from "../errors.ts";
import type { VerifyJwt } from "./jwt.ts";
import type { Viewer } from "./scopes.ts";
import { hashToken, isOwnToken, isWellFormed, parseAuthorization } from "./token.ts";
import { findToken, type TokenRecord } from "./tokens.ts";

/**
 * The viewer whom an `Authorization` header names; null without a header. Fails with UNAUTHENTICATED where the
 * token is malformed, unknown, expired or revoked, with UNAVAILABLE where it can't be looked up. With `onlyKnown` a
 * stored token is unknown, too, unless it was found before.
 */
export type Authenticate = (header: string | undefined, onlyKnown?: boolean) => Promise<Viewer | null>;

/** How long a look-up speaks for a token, counted from before it was asked. Milliseconds. */
const FRESH_FOR = 900;
const CACHED_TOKENS = 10_000;

interface LookUp {
  startedAt: number;
  token: Promise<TokenRecord | undefined>;
}

/**
 * An authenticator over the stored tokens, and over JWTs where there is a verifier of them. A look-up serves the requests of less than a second, so that a revoked
 * token is refused within that second; one that found nothing serves only those that wait for it already.
 */
export function createAuthenticator(db: Database, now: () => number, verifyJwt?: VerifyJwt): Authenticate {
  const lookUps = new LRUCache<string, LookUp>({ max: CACHED_TOKENS });

  function lookUp(hash: string, onlyKnown: boolean): Promise<TokenRecord | undefined> | undefined {
    const known = lookUps.get(hash);
    const startedAt = performance.now();
    if (known && startedAt - known.startedAt < FRESH_FOR) return known.token;
    if (!known && onlyKnown) return undefined;
    const entry: LookUp = { startedAt, token: findToken(db, hash) };
    lookUps.set(hash, entry);
    const forget = () => {
      if (lookUps.peek(hash) === entry) lookUps.delete(hash);
    };
    entry.token.then((token) => token ?? forget(), forget);
    return entry.token;
  }

  return async (header, onlyKnown = false) => {
    if (header === undefined) return null;
    const secret = parseAuthorization(header);
    if (secret !== null && verifyJwt && !isOwnToken(secret)) return verifyJwt(secret);
    const token =
      secret !== null && isWellFormed(secret) ? await lookUp(hashToken(secret), onlyKnown) : undefined;
    if (!token || token.revokedAt !== null || (token.expiresAt !== null && token.expiresAt <= now())) {
      throw new AppError("UNAUTHENTICATED", "The token is malformed, unknown, expired or revoked.");
    }
    const { accountId, id: tokenId, name: tokenName, scopes } = token;
    return { accountId, tokenId, tokenName, scopes };
  };
}
