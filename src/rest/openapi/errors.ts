import { STATUS_CODES } from "node:http";
import { AppError, badUserInput, type ErrorCode, RequestRefusal, toHttp } from "../../errors.ts";
import { legalHold } from "../../kyc/holds/store.ts";
import { numberUnreadable } from "../../kyc/show-kyc.ts";
import { VERIFICATION_STATUSES } from "../../vocabulary.ts";
import { type ErrorBody, renderFailure } from "../errors.ts";
import { headersOf, type JsonSchema, ON_EVERY_ANSWER, type RestOperation, reference } from "./components.ts";

const ALL: readonly RestOperation[] = [
  ...(["listKycs", "searchKycs", "createKyc", "getKyc", "updateKyc", "deleteKyc", "exportKycs"] as const),
  ...(["listEvents", "listKycHistory", "listAuditEvents"] as const),
];
const WRITES: readonly RestOperation[] = ["createKyc", "updateKyc", "deleteKyc"];
const WITH_BODY: readonly RestOperation[] = [...WRITES, "searchKycs"];
const OF_ONE: readonly RestOperation[] = ["createKyc", "getKyc", "updateKyc", "deleteKyc", "listKycHistory"];
const NEGOTIATED: readonly RestOperation[] = ["listKycHistory", "listAuditEvents"];

interface Failure {
  /** When it happens. */
  when: string;
  operations: readonly RestOperation[];
  /** The failure as it is thrown, with the message that clients see. */
  examples: (AppError | RequestRefusal)[];
  /** Headers that its answers can have, but for those that every such failure has. */
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

const failures = [...Object.values(FAILURES), ...REFUSALS].filter(({ operations }) => operations.length > 0);
const statusOf = ({ examples }: Failure) => toHttp(examples[0] as AppError).status;
const unique = <T>(values: T[]) => [...new Set(values)].sort();
const statuses = unique(failures.map(statusOf));

const ERROR_FIELDS: Record<keyof ErrorBody["error"], JsonSchema> = {
  type: { type: "string", description: "The kind of failure." },
  code: { type: "string", description: "What failed, for programs." },
  message: {
    type: "string",
    description: "What failed, for people. It never repeats a value from the request.",
  },
  param: { type: "string", description: "The invalid parameter, or the first of several." },
  current_version: {
    type: "integer",
    minimum: 1,
    description: "With `version_conflict`: the record's version, as in its `ETag`.",
  },
};

/** The schema of an error itself, with a type and a code of these. */
function describeError(narrowed: { type?: object; code?: object }): JsonSchema {
  const { type, code, ...rest } = ERROR_FIELDS;
  return {
    type: "object",
    properties: { type: { ...type, ...narrowed.type }, code: { ...code, ...narrowed.code }, ...rest },
    required: ["type", "code", "message"],
    additionalProperties: false,
  };
}

/** An error next to the fields of a record. */
export const errorObject: JsonSchema = describeError({});

function errorSchema(narrowed: { type?: object; code?: object }) {
  return {
    type: "object",
    properties: { error: describeError(narrowed) },
    required: ["error"],
    additionalProperties: false,
  };
}

/** The name of the component that describes a status: `BadRequest` for 400. */
const nameOf = (status: number) => (STATUS_CODES[status] ?? "").replaceAll(/\W/g, "");
/** The name of its body: `BadRequestError`. */
const bodyNameOf = (status: number) => `${nameOf(status).replace(/Error$/, "")}Error`;

const examplesOf = (status: number) =>
  failures.filter((failure) => statusOf(failure) === status).flatMap(({ examples }) => examples);

function describeBody(status: number) {
  const errors = examplesOf(status).map((example) => renderFailure(example).error);
  return {
    title: STATUS_CODES[status],
    description: `The body of a failure with the status ${status}.`,
    ...errorSchema({
      type: { enum: unique(errors.map(({ type }) => type)) },
      code: { enum: unique(errors.map(({ code }) => code)) },
    }),
  };
}

/** The schemas of errors: one for each status, with every type and code that it can have, and one for the rest. */
export const errorSchemas = {
  ApiError: {
    title: "Error",
    description: "The shape of every failure.",
    ...errorSchema({}),
  },
  ...Object.fromEntries(statuses.map((status) => [bodyNameOf(status), describeBody(status)])),
};

function describeStatus(status: number) {
  const these = failures.filter((failure) => statusOf(failure) === status);
  const examples = examplesOf(status);
  return {
    description: these.map(({ when }) => when).join("\n\n"),
    headers: headersOf(
      ...ON_EVERY_ANSWER,
      ...examples.flatMap((example) => Object.keys(toHttp(example).headers)),
      ...these.flatMap(({ headers }) => headers ?? []),
    ),
    content: {
      "application/json": {
        schema: reference("schemas", bodyNameOf(status)),
        examples: Object.fromEntries(
          examples.map(renderFailure).map((value) => [value.error.code, { value }]),
        ),
      },
    },
  };
}

/** `components.responses`: one for each status, and one for the rest. */
export const errorResponses = {
  ...Object.fromEntries(statuses.map((status) => [nameOf(status), describeStatus(status)])),
  Failure: {
    description: "Any other failure, such as one of a proxy on the way.",
    content: { "application/json": { schema: reference("schemas", "ApiError") } },
  },
};

/** References to the failures that this operation can have, by status. */
export function failuresOf(operation: RestOperation): Record<string, object> {
  const own = failures.filter(({ operations }) => operations.includes(operation)).map(statusOf);
  return Object.fromEntries(unique(own).map((s) => [s, reference("responses", nameOf(s))]));
}
