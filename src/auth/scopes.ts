import { AppError } from "../errors.ts";

/** Everything that a token can be allowed to do. */
export const SCOPES = [
  "kyc:read",
  "kyc:write",
  "kyc:delete",
  "kyc:pii",
  "audit:read",
  "kyc:hold",
  "webhooks:manage",
] as const;
export type Scope = (typeof SCOPES)[number];

const ACCOUNT_ID = /^[\w.:-]{1,64}$/;
/** The rule for account ids, for messages. */
export const ACCOUNT_ID_RULE = "It has 1 to 64 of A-Z a-z 0-9 _ . : -";

/** Whether this can be the id of an account. */
export function isAccountId(value: unknown): value is string {
  return typeof value === "string" && ACCOUNT_ID.test(value);
}

/** The caller: one token of one account. */
export interface Viewer {
  accountId: string;
  tokenId: string;
  tokenName: string;
  /** Who signed in, if the identity provider says. Only the audit trail may have it. */
  actorName?: string | null;
  scopes: readonly Scope[];
  /** When the token expires, in epoch milliseconds; null if it never does, or if there is no token, as in commands. */
  expiresAt: number | null;
}

/** Returns the viewer. Fails with UNAUTHENTICATED if there is none. */
export function requireViewer(viewer: Viewer | null): Viewer {
  if (viewer) return viewer;
  throw lacksToken();
}

/** The error for a request without a bearer token. */
export function lacksToken(): AppError {
  const message = "A token is needed: send it as Authorization: Bearer <token>.";
  return new AppError("UNAUTHENTICATED", message, { lacksToken: true });
}

export function hasScope(viewer: Viewer, scope: Scope): boolean {
  return viewer.scopes.includes(scope);
}

/** Returns the viewer. Fails with UNAUTHENTICATED if there is none, and with FORBIDDEN if it does not have the scope. */
export function requireScope(viewer: Viewer | null, scope: Scope): Viewer {
  const known = requireViewer(viewer);
  if (hasScope(known, scope)) return known;
  throw new AppError("FORBIDDEN", `The token lacks the scope ${scope}.`, { scope });
}
