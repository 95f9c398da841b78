import type { Viewer } from "./auth/scopes.ts";
import type { Database } from "./db/client.ts";
import { AppError } from "./errors.ts";
import type { IdempotencyRequest } from "./idempotency/key.ts";
import type { FailureLog } from "./log.ts";
import type { Keyring } from "./sealing/keyring.ts";
import type { Surface } from "./vocabulary.ts";

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
  /** Undefined: the request is not traced. */
  traceId?: string | undefined;
  /** The reads of document numbers that the audit trail must have before the answer leaves; null if reads are not audited. */
  reads: AuditedReads | null;
  /** The document numbers that the answer needed and that can't be decrypted. */
  unreadable: UnreadableNumber[];
  /** Errors of fields that the answer has a replacement for: GraphQL adds them to the answer. */
  fieldErrors: Error[];
  log: FailureLog;
  /** Epoch milliseconds. */
  now: () => number;
}

/** Ids of records whose document numbers one request has read. */
interface AuditedReads {
  /** The answer shows these numbers in full. */
  shown: Set<string>;
  /** The request gave these numbers, and whatever it is answered confirms them. */
  confirmed: Set<string>;
}

/** A record whose document number can't be decrypted, and why. */
export interface UnreadableNumber {
  kycId: string;
  cause: unknown;
}

/**
 * The answer is replaced by `failure`, so nothing that was read for it is shown: neither the trail nor a header may
 * say otherwise. A number that the request gave stays confirmed, because a failure can confirm it, too.
 */
export function withholdAnswer({ reads, idempotency }: OperationContext, failure?: unknown): void {
  reads?.shown.clear();
  if (idempotency) idempotency.replayed = failure instanceof AppError && failure.replayed;
}
