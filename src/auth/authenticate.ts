import { LRUCache } from "lru-cache";
import type { Database } from "../db/client.ts";
import { AppError } from "../errors.ts";
import type { Keyring } from "../sealing/keyring.ts";
import type { VerifyJwt } from "./jwt.ts";
import { lacksToken, type Viewer } from "./scopes.ts";
import { hasBearer, hashToken, isOwnToken, isWellFormed, parseAuthorization } from "./token-secret.ts";
import { findToken, type TokenRecord } from "./tokens.ts";

/**
 * The viewer whom an `Authorization` header names; null without a header. Fails with UNAUTHENTICATED if the
 * token is malformed, unknown, not authentic, expired or revoked, with UNAVAILABLE if it can't be looked up.
 */
export type Authenticate = (header: string | undefined) => Promise<Viewer | null>;

/** How long a look-up speaks for a token, counted from before it was asked. Milliseconds. */
const FRESH_FOR = 900;
const CACHED_TOKENS = 10_000;

interface LookUp {
  startedAt: number;
  token: Promise<TokenRecord | undefined>;
}

/**
 * An authenticator over the stored tokens, and over JWTs where there is a verifier of them. A look-up serves the
 * requests of less than a second, so that a revoked token is refused within that second; one that found nothing serves
 * only those that wait for it already.
 */
export function createAuthenticator(
  db: Database,
  keys: Keyring,
  now: () => number,
  verifyJwt?: VerifyJwt,
  onForged?: () => void,
): Authenticate {
  /** By the header, as it came: to hash each request's token takes longer than to find it here. */
  const lookUps = new LRUCache<string, LookUp>({ max: CACHED_TOKENS });

  /** Hashes of tokens that were found before. */
  const good = new LRUCache<string, true>({ max: CACHED_TOKENS });

  function lookUp(header: string, secret: string): LookUp {
    const hash = hashToken(secret);
    const entry: LookUp = {
      startedAt: performance.now(),
      token: findToken(db, keys, hash, good.has(hash), onForged),
    };
    lookUps.set(header, entry);
    const forget = () => {
      if (lookUps.peek(header) === entry) lookUps.delete(header);
    };
    // A secret stays no longer than it serves.
    setTimeout(forget, FRESH_FOR).unref();
    entry.token.then((token) => {
      if (token) good.set(hash, true);
      else forget();
    }, forget);
    return entry;
  }

  function findFresh(header: string): LookUp | undefined {
    const known = lookUps.get(header);
    return known && performance.now() - known.startedAt < FRESH_FOR ? known : undefined;
  }

  return async (header) => {
    if (header === undefined) return null;
    let found = findFresh(header);
    if (!found) {
      const secret = parseAuthorization(header);
      if (secret === null && !hasBearer(header)) throw lacksToken();
      if (secret !== null && verifyJwt && !isOwnToken(secret)) return verifyJwt(secret);
      if (secret !== null && isWellFormed(secret)) found = lookUp(header, secret);
    }
    const token = await found?.token;
    if (!token || token.revokedAt !== null || (token.expiresAt !== null && token.expiresAt <= now())) {
      throw new AppError(
        "UNAUTHENTICATED",
        "The token is malformed, unknown, not authentic, expired or revoked.",
      );
    }
    const { accountId, id: tokenId, name: tokenName, scopes } = token;
    return { accountId, tokenId, tokenName, scopes };
  };
}
