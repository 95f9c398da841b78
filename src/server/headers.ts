import type { IncomingHttpHeaders } from "node:http";
import { cameOverTls } from "../lib/header-text.ts";

/**
 * On every answer. Pages replace the policy by one that allows what they need. Origins of CORS_ORIGINS are let in by
 * CORS, which these don't concern.
 */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
};

/** If the client came over TLS, it is to come so for a year. Over plain HTTP it would mean nothing. */
const STRICT_TRANSPORT = "max-age=31536000";

/**
 * What every answer to a request with these headers has; a route may replace any of it. Unless a route says otherwise,
 * no cache may keep an answer: a kept error or probe would outlive its cause.
 */
export function commonHeaders(request: IncomingHttpHeaders, requestId: string): Record<string, string> {
  return {
    ...SECURITY_HEADERS,
    "cache-control": "no-store",
    ...(cameOverTls(request) && { "strict-transport-security": STRICT_TRANSPORT }),
    "request-id": requestId,
  };
}

/** What a page of another origin may read of an answer. */
export const EXPOSED_HEADERS = [
  "Allow",
  "ETag",
  "Idempotent-Replayed",
  "Location",
  "Request-Id",
  "Retry-After",
  "WWW-Authenticate",
].concat(["Limit", "Remaining", "Reset"].map((figure) => `RateLimit-${figure}`));

/** What CORS adds to the answer of a request that names no origin. */
export const OF_NO_ORIGIN = { vary: "Origin", "access-control-expose-headers": EXPOSED_HEADERS.join(", ") };
