import type { Viewer } from "./auth/scopes.ts";
import type { Database } from "./db/client.ts";
import { AppError } from "./errors.ts";
import type { IdempotencyRequest } from "./idempotency/key.ts";
import type { FailureLog } from "./log.ts";
import type { Keyring } from "./sealing/keyring.ts";
import type { AuditAction, Surface, VerificationStatus } from "./vocabulary.ts";

/** What an operation gets about the request that it serves. */
export interface OperationContext {
  db: Database;
  keys: Keyring;
  /** Null if the request has no token. */
  viewer: Viewer | null;
  /** Fails with UNAUTHENTICATED if the token is no longer valid, and with UNAVAILABLE if that can't be determined. */
  confirmViewer: () => Promise<void>;
  /**
   * Calls back once, within a second, if the token stops being valid. The returned function ends the watch. Only requests
   * that can last long need it.
   */
  watchViewer: (onInvalid: () => void) => () => void;
  /** The logs of accounts, for requests that follow events; null in commands. */
  logs: EventLogs | null;
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
  /** The operator's name for this installation's logs; if undefined, the database has a generated one. */
  logName?: string | undefined;
  /** How long after the end of a relationship nothing can be deleted, as an interval of PostgreSQL; null: not enforced. */
  enforcedRetention: string | null;
  /** Networks that webhooks may be in, in addition to the public ones. */
  webhookNetworks?: readonly string[] | undefined;
  /** The document numbers that the answer needed and that can't be decrypted. */
  unreadable: UnreadableNumber[];
  /** Errors of fields whose values are replaced in the answer. GraphQL adds them to the answer. */
  fieldErrors: Error[];
  log: FailureLog;
  /** Epoch milliseconds. */
  now: () => number;
}

/** The part of an event that followers of its account's log need, without personal data. */
export interface LoggedEvent {
  position: number;
  /** Epoch milliseconds. */
  at: number;
  action: AuditAction;
  /** The record that it is about, or the first of several; null if it is about none. */
  kycId: string | null;
  statusBefore: VerificationStatus | null;
  statusAfter: VerificationStatus | null;
}

/** The logs of accounts, which only grow. All followers of a log share the statements that read it. */
export interface EventLogs {
  /** How many events the account's log has. */
  sizeOf(accountId: string): Promise<number>;
  /** Some of the events from this position on; an empty list only if there are none. Callers must not change them. */
  read(accountId: string, from: number): Promise<readonly LoggedEvent[]>;
  /**
   * Follows a log from this position on. Fails with UNAVAILABLE if the process has as many followers as it may have, and
   * with RATE_LIMITED if the account has.
   */
  follow(accountId: string, from: number): Follower;
}

/** One follower of a log. It must be closed. */
export interface Follower {
  /** The position of the next event. */
  readonly position: number;
  /**
   * The next events, as soon as there are any; an empty list if there are none within so many milliseconds, or if they
   * can't be read now; undefined after the end. The position stays: `advance` moves it.
   */
  next(milliseconds: number): Promise<readonly LoggedEvent[] | undefined>;
  /** Moves the position forward by so many events. */
  advance(events: number): void;
  close(): void;
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
