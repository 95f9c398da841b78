import { hash, randomBytes } from "node:crypto";

const PREFIX = "kycgw_";
const SHAPE = /^kycgw_[\w-]{43}$/;
const BEARER = /^bearer +(\S+) *$/i;

/** A new secret of 256 random bits. The prefix lets secret scanners know it. */
export function mintToken(): string {
  return PREFIX + randomBytes(32).toString("base64url");
}

/** The token of an `Authorization` header, or null where the header has none of ours. */
export function parseAuthorization(header: string): string | null {
  const token = BEARER.exec(header)?.[1];
  return token !== undefined && SHAPE.test(token) ? token : null;
}

/** What is stored of a token: its SHA-256 in hex. A fast hash is enough for 256 random bits. */
export function hashToken(token: string): string {
  return hash("sha256", token, "hex");
}
