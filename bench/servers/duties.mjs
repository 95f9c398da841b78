// The gateway's duties towards a request: the token is looked up, the request has an id, the answer has the usual
// headers, and the log has one line about it.
import { createHash, randomUUID } from "node:crypto";
import pino from "pino";

/** How long a look-up is used, as in the gateway: a revoked token is refused within a second. Milliseconds. */
const FRESH_FOR = 900;
const MOST_TOKENS = 10_000;

const FIND_TOKEN = `select account_id as "accountId", id as "tokenId", name as "tokenName" from tokens
  where hash = $1 and revoked_at is null and coalesce(expires_at > now(), true)
    and scopes @> '{kyc:read,kyc:write,kyc:pii}'`;

/** @typedef {{ accountId: string, tokenId: string, tokenName: string }} Viewer */

/**
 * Finds the owner of the token in an `Authorization` header, by its SHA-256; undefined if the token is unknown.
 *
 * @param {import("./connect.mjs").Run} run
 * @returns {(header: string | undefined) => Promise<Viewer | undefined>}
 */
export function openTokens(run) {
  /** @type {Map<string, { at: number, viewer: Promise<Viewer | undefined> }>} */
  const known = new Map();
  return (header = "") => {
    const now = performance.now();
    const found = known.get(header);
    if (found && now - found.at < FRESH_FOR) return found.viewer;
    const hash = createHash("sha256").update(header.slice("Bearer ".length)).digest("hex");
    const viewer = run(FIND_TOKEN, [hash]).then(([row]) => row);
    viewer.catch(() => known.delete(header));
    if (known.size >= MOST_TOKENS) known.clear();
    known.set(header, { at: now, viewer });
    return viewer;
  };
}

export const newRequestId = () => `req_${randomUUID()}`;

/** Headers of every answer, in addition to its `request-id`. */
export const HEADERS = {
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store",
};

/** JSON lines on stdout, which is the file that the gateway's log goes to as well, written many at a time. */
const log = pino(
  { base: undefined },
  pino.destination({ dest: 1, sync: false, minLength: 16_000, periodicFlush: 100 }),
);

/**
 * Writes the line about a request that was answered.
 *
 * @param {{ requestId: string, method: string | undefined, route: string, status: number, ms: number,
 *   viewer: Viewer | undefined, operation: string | undefined }} answered
 */
export function logAnswered({ requestId, method, route, status, ms, viewer, operation }) {
  log.info(
    {
      requestId,
      method,
      route,
      status,
      ms: Math.round(ms * 100) / 100,
      account: viewer?.accountId,
      token: viewer?.tokenId,
      operation,
    },
    "answered",
  );
}
