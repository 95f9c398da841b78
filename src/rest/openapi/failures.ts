import { AppError, badUserInput, type ErrorCode, RequestRefusal } from "../../errors.ts";
import { legalHold } from "../../kyc/holds/store.ts";
import { numberUnreadable } from "../../kyc/show-kyc.ts";
import { retentionError } from "../../kyc/store/retention.ts";
import { VERIFICATION_STATUSES } from "../../vocabulary.ts";
import type { RestOperation } from "./components.ts";

const ALL: readonly RestOperation[] = [
  ...(["listKycs", "searchKycs", "createKyc", "getKyc", "updateKyc", "deleteKyc", "exportKycs"] as const),
  ...(["listEvents", "listKycHistory", "listAuditEvents"] as const),
];
const WRITES: readonly RestOperation[] = ["createKyc", "updateKyc", "deleteKyc"];
const WITH_BODY: readonly RestOperation[] = [...WRITES, "searchKycs"];
const OF_ONE: readonly RestOperation[] = ["createKyc", "getKyc", "updateKyc", "deleteKyc", "listKycHistory"];
const NEGOTIATED: readonly RestOperation[] = ["listKycHistory", "listAuditEvents"];

/** A way in which operations fail. */
export interface Failure {
  /** When it happens. */
  when: string;
  operations: readonly RestOperation[];
  /** The failure as it is thrown, with the message that clients see. */
  examples: (AppError | RequestRefusal)[];
  /** Headers that its answers can have, besides those that every such failure has. */
  headers?: string[];
}

const fault = (kind: "missing" | "unknown" | "invalid", path: string, message: string) =>
  badUserInput([{ path: [path], kind, message }]);

/** Every failure of an operation. A new code in the catalogue must be described here. */
const FAILURES: Record<ErrorCode, Failure> = {
  BAD_USER_INPUT: {
    when: "Parameters are missing, unknown or invalid. The message names every error at once.",
    operations: ALL,
    examples: [
      fault("missing", "documentNumber", "is required"),
      fault("unknown", "offset", "is not a parameter of this request"),
      fault("invalid", "verificationStatus", `must be one of ${VERIFICATION_STATUSES.join(", ")}`),
    ],
  },
  UNAUTHENTICATED: {
    when: "There is no token, or it is malformed, unknown, expired or revoked.",
    operations: ALL,
    examples: [new AppError("UNAUTHENTICATED", "The token is malformed, unknown, expired or revoked.")],
  },
  FORBIDDEN: {
    when: "The token lacks the scope that the message names.",
    operations: ALL,
    examples: [new AppError("FORBIDDEN", "The token lacks the scope kyc:write.", { scope: "kyc:write" })],
  },
  NOT_FOUND: {
    when: "Your account has no record with this id, or the record that this `Idempotency-Key` wrote has been deleted.",
    operations: OF_ONE,
    examples: [new AppError("NOT_FOUND", "No record with this id.")],
    headers: ["Idempotent-Replayed"],
  },
  VERSION_CONFLICT: {
    when: "The record is at none of the versions that `If-Match` lists, or `If-None-Match` rules out the write.",
    operations: ALL,
    examples: [
      new AppError("VERSION_CONFLICT", "The record has changed: it is at version 2 now.", {
        currentVersion: 2,
      }),
    ],
    headers: ["Idempotent-Replayed"],
  },
  IDEMPOTENCY_MISMATCH: {
    when: "The `Idempotency-Key` was used with another request. Nothing was done.",
    operations: WRITES,
    examples: [new AppError("IDEMPOTENCY_MISMATCH", "The key was used with another request. Use a new key.")],
  },
  IDEMPOTENCY_IN_PROGRESS: {
    when: "The first request with this `Idempotency-Key` is still running: send this one again after a moment.",
    operations: WRITES,
    examples: [new AppError("IDEMPOTENCY_IN_PROGRESS", "The first request with this key is still running.")],
  },
  LEGAL_HOLD: {
    when: "The record is under a legal hold, which the message names. Nothing was deleted.",
    operations: ["deleteKyc"],
    examples: [legalHold("hold_0RCk0fqaYKz7hG2b")],
  },
  RETENTION: {
    when: "The record must be kept for the time of retention, whose end the message names if the relationship with the customer has ended. Nothing was deleted.",
    operations: ["deleteKyc"],
    examples: [retentionError(Date.parse("2031-05-03T00:00:00Z"))],
  },
  RATE_LIMITED: {
    when: "The token has sent as many requests as it may within a minute, or too many requests of the account wait for events.",
    operations: ALL,
    examples: [
      new AppError("RATE_LIMITED", "More than 600 requests in a minute. Try again in 12 s.", {
        retryAfter: 12,
      }),
    ],
  },
  QUERY_TOO_COMPLEX: {
    when: "An answer would show more document numbers than one event of the audit trail can have.",
    // A page of this surface is smaller.
    operations: [],
    examples: [new AppError("QUERY_TOO_COMPLEX", "The answer shows too many document numbers.")],
  },
  UNAVAILABLE: {
    when: "The service can't answer now. Nothing is wrong with the request: send it again after a moment.",
    operations: ALL,
    examples: [new AppError("UNAVAILABLE", "The service is unavailable for the moment. Try again shortly.")],
  },
  INTERNAL: {
    when: "Something went wrong on our side, or the record's document number can't be decrypted. Tell us the `Request-Id`.",
    operations: ALL,
    examples: [new AppError("INTERNAL", "Something went wrong on our side."), numberUnreadable()],
  },
};

/** Requests that are refused before there is an operation. */
const REFUSALS: Failure[] = [
  {
    when: "The address can't be read, or a header that may be sent once is sent twice.",
    operations: ALL,
    examples: [new RequestRefusal(400, "request_malformed", "The request is malformed.")],
  },
  {
    when: "The client accepts neither JSON nor CSV.",
    operations: NEGOTIATED,
    examples: [
      new RequestRefusal(406, "not_acceptable", "Events are answered as application/json or text/csv."),
    ],
  },
  {
    when: "The body is too large.",
    operations: WITH_BODY,
    examples: [new RequestRefusal(413, "body_too_large", "The body is larger than this server takes.")],
  },
  {
    when: "The body is of another type.",
    operations: WITH_BODY,
    examples: [
      new RequestRefusal(
        415,
        "content_type_unsupported",
        "The body must be application/x-www-form-urlencoded or application/json.",
      ),
    ],
  },
];

/** Every failure that an operation of this surface can have. */
export const failures: readonly Failure[] = [...Object.values(FAILURES), ...REFUSALS].filter(
  ({ operations }) => operations.length > 0,
);
