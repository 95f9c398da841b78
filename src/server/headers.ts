import type { IncomingHttpHeaders } from "node:http";
import { usedTls } from "../lib/header-text.ts";

/**
 * Headers of every answer. Pages replace the content security policy by one that allows what they need. They don't affect
 * CORS.
 */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
};

/** Sent only if the client used TLS, because browsers ignore it over plain HTTP. One year. */
const STRICT_TRANSPORT = "max-age=31536000";

/**
 * The headers of every answer to a request with these headers. A route can replace each of them. By default no cache may
 * store an answer: a stored error or probe would outlive its cause.
 */
export function commonHeaders(request: IncomingHttpHeaders, requestId: string): Record<string, string> {
  return {
    ...SECURITY_HEADERS,
    "cache-control": "no-store",
    ...(usedTls(request) && { "strict-transport-security": STRICT_TRANSPORT }),
    "request-id": requestId,
  };
}

/** Headers of an answer that a page of another origin may read. */
export const EXPOSED_HEADERS = [
  "Allow",
  "ETag",
  "Idempotent-Replayed",
  "Location",
  "Request-Id",
  "Retry-After",
  "WWW-Authenticate",
].concat(["Limit", "Remaining", "Reset"].map((figure) => `RateLimit-${figure}`));

/** The headers that CORS adds to an answer if the request has no origin. */
export const OF_NO_ORIGIN = { vary: "Origin", "access-control-expose-headers": EXPOSED_HEADERS.join(", ") };
