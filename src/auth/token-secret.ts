import { hash, randomBytes } from "node:crypto";

const PREFIX = "kycgw_";
const SHAPE = /^kycgw_[\w-]{43}$/;
const BEARER = /^bearer +(\S+) *$/i;

/** Creates a secret of 256 random bits. Secret scanners recognise its prefix. */
export function mintToken(): string {
  return PREFIX + randomBytes(32).toString("base64url");
}

/** The bearer token of an `Authorization` header; null if it has none. */
export function parseAuthorization(header: string): string | null {
  return BEARER.exec(header)?.[1] ?? null;
}

/** Whether an `Authorization` header has anything after `Bearer`. */
export function hasBearer(header: string): boolean {
  return /^bearer +\S/i.test(header);
}

/** Whether a token has the prefix of the gateway's own tokens. */
export function isOwnToken(token: string): boolean {
  return token.startsWith(PREFIX);
}

/** Whether a token has the form of those that `mintToken` creates. */
export function isWellFormed(token: string): boolean {
  return SHAPE.test(token);
}

/** The SHA-256 of a token in hex, which is stored instead of it. A fast hash is enough for 256 random bits. */
export function hashToken(token: string): string {
  return hash("sha256", token, "hex");
}
