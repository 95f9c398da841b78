import type { Surface } from "./audit/event.ts";
import type { Viewer } from "./auth/scopes.ts";
import type { Database } from "./db/client.ts";
import { AppError } from "./errors.ts";
import type { IdempotencyRequest } from "./idempotency/key.ts";
import type { FailureLog } from "./log.ts";
import type { Keyring } from "./sealing/keyring.ts";

/** What an operation may know of the request that it serves. */
export interface OperationContext {
  db: Database;
  keys: Keyring;
  /** Null: the request carries no token. */
  viewer: Viewer | null;
  /** Fails with UNAUTHENTICATED where the token has ended for some moments, with UNAVAILABLE where that can't be told. */
  confirmViewer: () => Promise<void>;
  surface: Surface;
  /** Null: the request has no `Idempotency-Key`. Only writes look at it. */
  idempotency: IdempotencyRequest | null;
  requestId: string;
  /** The ids of records whose numbers the answer shows; null where reads are not audited. */
  numbersShown: Set<string> | null;
  log: FailureLog;
  /** Epoch milliseconds. */
  now: () => number;
}

/**
 * What was found for the answer does not go into it, but `failure` does: neither the trail nor a header may say
 * otherwise.
 */
export function withholdAnswer({ numbersShown, idempotency }: OperationContext, failure?: unknown): void {
  numbersShown?.clear();
  if (idempotency) idempotency.replayed = failure instanceof AppError && failure.replayed;
}
