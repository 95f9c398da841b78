import { hash } from "node:crypto";
import { errors, type JWTPayload, jwtVerify } from "jose";
import { LRUCache } from "lru-cache";
import { AppError } from "../errors.ts";
import { createKeySource } from "./jwks.ts";
import { toScopes } from "./scope-map.ts";
import { isAccountId, type Viewer } from "./scopes.ts";
import type { JwtConfig } from "./settings.ts";
import type { NameSignIn } from "./sign-in-name.ts";

/** Only asymmetric signatures, so that nobody can create a token with the published keys. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"];
const CURVES = ["EdDSA", "Ed25519"];
/** Allowed difference between the provider's clock and ours. */
const CLOCK_SKEW_SECONDS = 30;
/** Characters. */
const LONGEST_TOKEN = 8192;
/** How long a verified token is accepted without verifying it again, at most until it expires. */
const VERIFIED_FOR_MS = 60_000;
const CACHED_TOKENS = 10_000;

/** Of the name of the person who signed in. Characters. */
const LONGEST_NAME = 200;

/** The token name in the audit trail for every JWT, because a name from a claim would be a person's name. */
const TOKEN_NAME = "sign-in";

/**
 * Returns the viewer of a JWT. Fails with UNAUTHENTICATED and the reason if it is not a valid token of the identity
 * provider, and with UNAVAILABLE if its key is unknown and the provider does not answer.
 */
export type VerifyJwt = (token: string) => Promise<Viewer>;

/**
 * Creates a verifier of one provider's tokens. `now` is in epoch milliseconds. `onFailure` is called for each failed fetch
 * of keys while there are known keys.
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
      clockTolerance: CLOCK_SKEW_SECONDS,
      currentDate: new Date(now()),
    }).catch((error) => {
      throw toRefusal(error);
    });
    if (payload.iat !== undefined && payload.iat * 1000 > now() + CLOCK_SKEW_SECONDS * 1000) {
      throw refused("has a claim iat that lies in the future");
    }
    const viewer = toViewer(payload, config, nameSignIn);
    const until = Math.min((payload.exp as number) * 1000, now() + VERIFIED_FOR_MS);
    verified.set(key, { viewer, until });
    return viewer;
  };
}

function toViewer(
  payload: JWTPayload,
  { issuer, account, accountClaim, nameClaim, scopeClaim, scopeMap }: JwtConfig,
  nameSignIn: NameSignIn,
): Viewer {
  const { sub } = payload;
  if (typeof sub !== "string" || sub === "") throw refused("has a claim sub that is not a text");
  const accountId = account ?? findClaim(payload, accountClaim);
  if (!isAccountId(accountId)) throw refused(`has no account in its claim ${accountClaim}`);
  return {
    accountId,
    tokenId: nameSignIn(issuer, sub),
    tokenName: TOKEN_NAME,
    actorName: nameClaim === undefined ? null : toActorName(findClaim(payload, nameClaim)),
    scopes: toScopes(readWords(findClaim(payload, scopeClaim)), scopeMap),
    expiresAt: (payload.exp as number) * 1000,
  };
}

/** The name in a claim, on one line and cut to `LONGEST_NAME`; null if the claim is not a text. */
function toActorName(claim: unknown): string | null {
  if (typeof claim !== "string") return null;
  const name = claim.replace(/[\p{C}\p{Z}]+/gu, " ").trim();
  return [...name].slice(0, LONGEST_NAME).join("") || null;
}

/** The claim with exactly this name, which can contain dots as in URLs, or else the claim at this dotted path. */
function findClaim(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  let value: unknown = payload;
  for (const part of name.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** The words of a list or of a space-separated text. */
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
        : `has a claim ${error.claim} with a value that is not accepted here`,
    );
  }
  if (error instanceof errors.JOSEAlgNotAllowed)
    return refused("is signed with an algorithm that is not accepted");
  if (error instanceof errors.JWKSNoMatchingKey)
    return refused("is signed with a key that the provider does not have");
  return refused("is malformed or wrongly signed");
}

function refused(why: string): AppError {
  return new AppError("UNAUTHENTICATED", `The token ${why}.`);
}
