import { LRUCache } from "lru-cache";
import type { Database } from "../db/client.ts";
import { AppError } from "../errors.ts";
import type { Keyring } from "../sealing/keyring.ts";
import type { VerifyJwt } from "./jwt.ts";
import { lacksToken, type Viewer } from "./scopes.ts";
import { hasBearer, hashToken, isOwnToken, isWellFormed, parseAuthorization } from "./token-secret.ts";
import { findToken, type TokenRecord } from "./tokens.ts";

/**
 * Returns the viewer of an `Authorization` header; null without a header. Fails with UNAUTHENTICATED if the token is
 * malformed, unknown, not authentic, expired or revoked, and with UNAVAILABLE if it can't be looked up. The token was looked up
 * less than `freshFor` milliseconds ago, by default less than a second.
 */
export type Authenticate = (header: string | undefined, freshFor?: number) => Promise<Viewer | null>;

/** How long the result of a look-up is used, counted from the start of the look-up. */
const FRESH_FOR_MS = 900;
const CACHED_TOKENS = 10_000;

interface LookUp {
  startedAt: number;
  token: Promise<TokenRecord | undefined>;
}

/**
 * Creates an authenticator for stored tokens, and for JWTs if there is a verifier. The result of a look-up is used for
 * less than a second, so that a revoked token is refused within a second. If a look-up finds nothing, only requests that
 * were waiting for it use the result.
 */
export function createAuthenticator(
  db: Database,
  keys: Keyring,
  now: () => number,
  verifyJwt?: VerifyJwt,
  onForged?: () => void,
): Authenticate {
  /** Keyed by the raw header, because hashing the token takes longer than this look-up. */
  const lookUps = new LRUCache<string, LookUp>({ max: CACHED_TOKENS });

  /** Hashes of tokens that were found before. */
  const foundHashes = new LRUCache<string, true>({ max: CACHED_TOKENS });

  function lookUp(header: string, secret: string): LookUp {
    const hash = hashToken(secret);
    const entry: LookUp = {
      startedAt: performance.now(),
      token: findToken(db, keys, hash, foundHashes.has(hash), onForged),
    };
    lookUps.set(header, entry);
    const forget = () => {
      if (lookUps.peek(header) === entry) lookUps.delete(header);
    };
    // Don't keep a secret in memory longer than it is used.
    setTimeout(forget, FRESH_FOR_MS).unref();
    entry.token.then((token) => {
      if (token) foundHashes.set(hash, true);
      else forget();
    }, forget);
    return entry;
  }

  function findFresh(header: string, freshFor: number): LookUp | undefined {
    const known = lookUps.get(header);
    return known && performance.now() - known.startedAt < freshFor ? known : undefined;
  }

  return async (header, freshFor = FRESH_FOR_MS) => {
    if (header === undefined) return null;
    let found = findFresh(header, freshFor);
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
    const { accountId, id: tokenId, name: tokenName, scopes, expiresAt } = token;
    return { accountId, tokenId, tokenName, scopes, expiresAt };
  };
}
