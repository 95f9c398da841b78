/**
 * On every answer. Pages replace the policy by one that allows what they need. Origins of CORS_ORIGINS are let in by
 * CORS, which these don't concern.
 */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
};

/** Where a proxy says that the client came over TLS, it is to come so for a year. Over plain HTTP it would mean nothing. */
export const STRICT_TRANSPORT = "max-age=31536000";
