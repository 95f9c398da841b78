/** The closed list of error codes with their statuses on REST. GraphQL sends the code itself. */
const ERROR_STATUS = {
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  BAD_USER_INPUT: 400,
  NOT_FOUND: 404,
  VERSION_CONFLICT: 412,
  IDEMPOTENCY_MISMATCH: 400,
  IDEMPOTENCY_IN_PROGRESS: 409,
  LEGAL_HOLD: 409,
  RETENTION: 409,
  QUERY_TOO_COMPLEX: 400,
  RATE_LIMITED: 429,
  UNAVAILABLE: 503,
  INTERNAL: 500,
} as const;
export type ErrorCode = keyof typeof ERROR_STATUS;

/** What is wrong with a field: it is missing, it is unknown, or its value is invalid. */
type FaultKind = "missing" | "unknown" | "invalid";

/** One fault of an input. `path` names the field as the operation's input does, `message` never repeats its value. */
export interface FieldFault {
  path: readonly (string | number)[];
  kind: FaultKind;
  message: string;
}

/** `Retry-After` of failures that can pass. Seconds. */
const RETRY_AFTER_SECONDS = 1;
const PASSING: ReadonlySet<ErrorCode> = new Set(["UNAVAILABLE", "IDEMPOTENCY_IN_PROGRESS"]);

interface AppErrorOptions {
  faults?: readonly FieldFault[];
  cause?: unknown;
  retryAfter?: number;
  replayed?: boolean;
  lacksToken?: boolean;
  scope?: string | undefined;
  currentVersion?: number | undefined;
  holdId?: string;
  retainedUntil?: number | null;
  detail?: string;
}

/** A failure whose message clients see. It contains no data of records. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly faults: readonly FieldFault[];
  /** For UNAUTHENTICATED: whether the request had no token. */
  readonly lacksToken: boolean;
  /** For FORBIDDEN: the scope that the token does not have. */
  readonly scope: string | undefined;
  /** For VERSION_CONFLICT: the version of the record, if there is a record. */
  readonly currentVersion: number | undefined;
  /** For LEGAL_HOLD: the id of a hold. */
  readonly holdId: string | undefined;
  /** For RETENTION: until when the record is retained, in epoch milliseconds; null if that is not known yet. */
  readonly retainedUntil: number | null | undefined;
  /** Seconds; set if a later attempt can succeed. */
  readonly retryAfter: number | undefined;
  /** Whether it repeats the answer to the first request under the same idempotency key. */
  readonly replayed: boolean;
  /** A more specific code for REST. If it is set, the operation has logged the failure itself. */
  readonly detail: string | undefined;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.name = "AppError";
    this.code = code;
    this.faults = options.faults ?? [];
    this.replayed = options.replayed ?? false;
    this.lacksToken = options.lacksToken ?? false;
    this.scope = options.scope;
    this.currentVersion = options.currentVersion;
    this.holdId = options.holdId;
    this.retainedUntil = options.retainedUntil;
    this.detail = options.detail;
    this.retryAfter = options.retryAfter ?? (PASSING.has(code) ? RETRY_AFTER_SECONDS : undefined);
  }
}

/** The maximum number of faults in one error. It is more than a person reads, and keeps an answer as small as its request. */
export const MOST_FAULTS = 100;

/** The error for input with these faults; its message names them all, up to a hundred. */
export function badUserInput(all: readonly FieldFault[]): AppError {
  const faults = all.slice(0, MOST_FAULTS);
  const texts = faults.map((fault) => `${fault.path.join(".")}: ${fault.message}`);
  if (all.length > faults.length) texts.push(`and ${all.length - faults.length} more`);
  const message = texts.join("; ");
  return new AppError("BAD_USER_INPUT", message, { faults });
}

/** The error for what can't be done now and probably soon: without the database, an encryption key, or a provider's keys. */
export function unavailable(cause?: unknown): AppError {
  return new AppError("UNAVAILABLE", "The service is unavailable for the moment. Try again shortly.", {
    cause,
  });
}

/** The error if the database did not answer in time. */
export function lateAnswer(): AppError {
  return unavailable(new Error("the database did not answer in time"));
}

const OVERLOADED = new AppError(
  "UNAVAILABLE",
  "The service has more requests than it can serve. Try again shortly.",
);

/** The error for a request above the limit of requests. All requests share one object, because it must be cheap. */
export function overloaded(): AppError {
  return OVERLOADED;
}

/** Converts an error for clients: an AppError stays as it is; any other becomes INTERNAL, with the cause for the log. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError("INTERNAL", "Something went wrong on our side.", { cause: error });
}

/** A request is refused before an operation sees it, because of its route, its method or the form of its body. */
export class RequestRefusal extends Error {
  readonly status: number;
  /** The code on REST. */
  readonly code: string;
  /** Headers of its answer, by lower-case name. */
  readonly headers: Record<string, string>;

  constructor(status: number, code: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.name = "RequestRefusal";
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** The HTTP status and headers of a request that fails as a whole; the same on both surfaces. */
export function toHttp(failure: AppError | RequestRefusal): {
  status: number;
  headers: Record<string, string>;
} {
  if (failure instanceof RequestRefusal) return { status: failure.status, headers: failure.headers };
  const { code, retryAfter } = failure;
  const challenge = toChallenge(failure);
  return {
    status: ERROR_STATUS[code],
    headers: {
      ...(challenge !== undefined && { "www-authenticate": challenge }),
      ...(retryAfter !== undefined && { "retry-after": String(retryAfter) }),
    },
  };
}

/** The `WWW-Authenticate` header of a failure (RFC 6750, section 3). */
function toChallenge({ code, lacksToken, scope }: AppError): string | undefined {
  if (code === "UNAUTHENTICATED") return lacksToken ? "Bearer" : 'Bearer error="invalid_token"';
  if (code !== "FORBIDDEN") return undefined;
  return `Bearer error="insufficient_scope"${scope === undefined ? "" : `, scope="${scope}"`}`;
}
