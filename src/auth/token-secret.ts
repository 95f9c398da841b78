import { hash, randomBytes } from "node:crypto";

const PREFIX = "kycgw_";
const SHAPE = /^kycgw_[\w-]{43}$/;
const BEARER = /^bearer +(\S+) *$/i;

/** A new secret of 256 random bits. The prefix lets secret scanners know it. */
export function mintToken(): string {
  return PREFIX + randomBytes(32).toString("base64url");
}

/** The bearer token of an `Authorization` header, or null where the header has none. */
export function parseAuthorization(header: string): string | null {
  return BEARER.exec(header)?.[1] ?? null;
}

/** Whether an `Authorization` header gives anything as a bearer token, even if it is none. */
export function hasBearer(header: string): boolean {
  return /^bearer +\S/i.test(header);
}

/** Whether a token is to be one of the gateway's own. */
export function isOwnToken(token: string): boolean {
  return token.startsWith(PREFIX);
}

/** Whether it looks as those that `mintToken` makes. */
export function isWellFormed(token: string): boolean {
  return SHAPE.test(token);
}

/** What is stored of a token: its SHA-256 in hex. A fast hash is enough for 256 random bits. */
export function hashToken(token: string): string {
  return hash("sha256", token, "hex");
}
