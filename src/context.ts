import type { Viewer } from "./auth/scopes.ts";
import type { Database } from "./db/client.ts";
import { AppError } from "./errors.ts";
import type { IdempotencyRequest } from "./idempotency/key.ts";
import type { FailureLog } from "./log.ts";
import type { Keyring } from "./sealing/keyring.ts";
import type { Surface } from "./vocabulary.ts";

/** What an operation gets about the request that it serves. */
export interface OperationContext {
  db: Database;
  keys: Keyring;
  /** Null if the request has no token. */
  viewer: Viewer | null;
  /** Fails with UNAUTHENTICATED if the token is no longer valid, and with UNAVAILABLE if that can't be determined. */
  confirmViewer: () => Promise<void>;
  surface: Surface;
  /** The keyed digest by which the trail finds the events of a customer. */
  digestCustomer: (accountId: string, customerId: string) => Buffer;
  /** Null if the request has no `Idempotency-Key`. Only writes use it. */
  idempotency: IdempotencyRequest | null;
  requestId: string;
  /** Undefined: the request is not traced. */
  traceId?: string | undefined;
  /** The reads of document numbers that must be in the audit trail before the answer is sent; null if reads are not audited. */
  reads: AuditedReads | null;
  /** The operator's name for the logs of this installation; undefined: one that is made for the database. */
  logName?: string | undefined;
  /** The document numbers that the answer needed and that can't be decrypted. */
  unreadable: UnreadableNumber[];
  /** Errors of fields whose values are replaced in the answer. GraphQL adds them to the answer. */
  fieldErrors: Error[];
  log: FailureLog;
  /** Epoch milliseconds. */
  now: () => number;
}

/** The records whose document numbers one request has read: the customer of each, by the record's id. */
interface AuditedReads {
  /** The answer shows these numbers in full. */
  shown: Map<string, string>;
  /** The request contained these numbers, and any answer confirms them. */
  confirmed: Map<string, string>;
}

/** A record whose document number can't be decrypted, and why. */
export interface UnreadableNumber {
  kycId: string;
  cause: unknown;
}

/**
 * Must be called if `failure` replaces the answer. Then nothing that was read is shown, so neither the audit trail nor a
 * header may say so. Numbers in the request stay confirmed, because a failure can confirm them, too.
 */
export function withholdAnswer({ reads, idempotency }: OperationContext, failure?: unknown): void {
  reads?.shown.clear();
  if (idempotency) idempotency.replayed = failure instanceof AppError && failure.replayed;
}
