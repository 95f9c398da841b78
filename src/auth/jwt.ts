import { hash } from "node:crypto";
import { errors, type JWTPayload, jwtVerify } from "jose";
import { LRUCache } from "lru-cache";
import { AppError } from "../errors.ts";
import { createKeySource } from "./jwks.ts";
import { toScopes } from "./scope-map.ts";
import { isAccountId, type Viewer } from "./scopes.ts";
import type { JwtConfig } from "./settings.ts";
import type { NameSignIn } from "./sign-in-name.ts";

/** Only signatures that take a private key to make: whoever knows the published keys can make no token. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"];
const CURVES = ["EdDSA", "Ed25519"];
/** Between the provider's clock and ours. Seconds. */
const CLOCK_SKEW = 30;
/** Characters. */
const LONGEST_TOKEN = 8192;
/** How long a token that was verified is taken without doing it again, at most until it expires. Milliseconds. */
const VERIFIED_FOR = 60_000;
const CACHED_TOKENS = 10_000;

/** What the audit trail calls every such token: a name in a claim would be somebody's. */
const TOKEN_NAME = "sign-in";

/**
 * The viewer whom a JWT names. Fails with UNAUTHENTICATED, saying why, where it is not a good one of the identity
 * provider's; with UNAVAILABLE where its key is not known and the provider does not answer.
 */
export type VerifyJwt = (token: string) => Promise<Viewer>;

/**
 * A verifier of one provider's tokens. `now` is in epoch milliseconds; `onFailure` hears of each fetch of keys that
 * failed while there were known ones.
 */
export function createJwtVerifier(
  config: JwtConfig,
  {
    nameSignIn,
    now,
    onFailure,
    elapsed,
  }: {
    nameSignIn: NameSignIn;
    now: () => number;
    onFailure: (error: unknown) => void;
    elapsed?: () => number;
  },
): VerifyJwt {
  const findKey = createKeySource(config.jwksUrl, onFailure, elapsed);
  const verified = new LRUCache<string, { viewer: Viewer; until: number }>({ max: CACHED_TOKENS });

  return async (token) => {
    if (token.length > LONGEST_TOKEN) throw refused(`is longer than ${LONGEST_TOKEN} characters`);
    const key = hash("sha256", token, "base64");
    const known = verified.get(key);
    if (known && now() < known.until) return known.viewer;
    const { payload } = await jwtVerify(token, findKey, {
      algorithms: [...ALGORITHMS, ...CURVES],
      issuer: config.issuer,
      audience: config.audience,
      ...(config.typ !== undefined && { typ: config.typ }),
      requiredClaims: ["exp", "sub"],
      clockTolerance: CLOCK_SKEW,
      currentDate: new Date(now()),
    }).catch((error) => {
      throw toRefusal(error);
    });
    if (payload.iat !== undefined && payload.iat * 1000 > now() + CLOCK_SKEW * 1000) {
      throw refused("has a claim iat that lies in the future");
    }
    const viewer = toViewer(payload, config, nameSignIn);
    const until = Math.min((payload.exp as number) * 1000, now() + VERIFIED_FOR);
    verified.set(key, { viewer, until });
    return viewer;
  };
}

function toViewer(
  payload: JWTPayload,
  { issuer, account, accountClaim, scopeClaim, scopeMap }: JwtConfig,
  nameSignIn: NameSignIn,
): Viewer {
  const { sub } = payload;
  if (typeof sub !== "string" || sub === "") throw refused("has a claim sub that is no text");
  const accountId = account ?? findClaim(payload, accountClaim);
  if (!isAccountId(accountId)) throw refused(`has no account in its claim ${accountClaim}`);
  return {
    accountId,
    tokenId: nameSignIn(issuer, sub),
    tokenName: TOKEN_NAME,
    scopes: toScopes(readWords(findClaim(payload, scopeClaim)), scopeMap),
  };
}

/** The claim of this very name, which may hold dots as those of URLs do, or the one at the end of this path. */
function findClaim(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  let value: unknown = payload;
  for (const part of name.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** Those of a list, or of a text with blanks between. */
function readWords(claim: unknown): unknown[] {
  return typeof claim === "string" ? claim.split(" ") : Array.isArray(claim) ? claim : [];
}

function toRefusal(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof errors.JWTExpired) return refused("has expired");
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === "typ") return refused("has another type (typ) than those that are accepted here");
    return refused(
      error.reason === "missing"
        ? `lacks the claim ${error.claim}`
        : `has a claim ${error.claim} that is not taken here`,
    );
  }
  if (error instanceof errors.JOSEAlgNotAllowed)
    return refused("is signed with an algorithm that is not taken");
  if (error instanceof errors.JWKSNoMatchingKey)
    return refused("is signed with a key that the provider has not");
  return refused("is malformed or wrongly signed");
}

function refused(why: string): AppError {
  return new AppError("UNAUTHENTICATED", `The token ${why}.`);
}
