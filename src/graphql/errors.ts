import { BREAK, type ExecutionResult, GraphQLError, Kind, type VariableNode, visit } from "graphql";
import {
  AppError,
  badUserInput,
  type ErrorCode,
  MOST_FAULTS,
  RequestRefusal,
  toAppError,
} from "../errors.ts";
import { type FailureLog, logFailure } from "../log.ts";
import { pathOfValue } from "./documents/argument-paths.ts";

/** How one request's errors are rendered. */
export interface ErrorContext {
  requestId: string;
  log: FailureLog;
  /** Whether this variable of the request is null. */
  isNull?: (variable: string) => boolean;
}

/** An error as a client gets it. */
interface RenderedError {
  message: string;
  locations?: { line: number; column: number }[];
  path?: readonly (string | number)[];
  extensions: { code: string; requestId: string };
}

/** The errors of an answer, and the status and headers that the worst of them asks for. */
export interface RenderedErrors {
  errors: RenderedError[];
  status: number;
  headers: Record<string, string>;
}

/** The maximum number of errors in an answer. One more error states how many were left out. */
const MOST_ERRORS = 100;

/**
 * Renders errors for clients, in the order of their locations in the document and in the answer. Each has a code of the
 * catalogue and the request's id, and none has a value. Causes of unforeseen errors are in the log.
 */
export function renderErrors(all: readonly GraphQLError[], context: ErrorContext): RenderedErrors {
  const { requestId } = context;
  const answer: RenderedErrors = { errors: [], status: 200, headers: {} };
  const placed = all.map((error) => ({ error, location: locationOf(error) }));
  placed.sort((a, b) => compare(positionOf(a), positionOf(b)));
  for (const { error, location } of placed.slice(0, MOST_ERRORS)) {
    const failure = findAppError(error, context);
    const { message, extensions, status, headers } = failure
      ? renderAppError(failure, error, context)
      : renderRequestError(error);
    answer.status = Math.max(answer.status, status);
    Object.assign(answer.headers, headers);
    answer.errors.push({
      message,
      ...(location && { locations: [location] }),
      ...(error.path && { path: error.path }),
      extensions: { ...extensions, requestId },
    });
  }
  const more = all.length - MOST_ERRORS;
  const code = answer.errors[0]?.extensions.code;
  if (more > 0 && code) answer.errors.push({ message: `And ${more} more.`, extensions: { code, requestId } });
  return answer;
}

interface Placed {
  error: GraphQLError;
  location: { line: number; column: number } | undefined;
}

/** The location of a node from its token. graphql-js would search the text, which we do not keep. */
function locationOf({ nodes, source, locations }: GraphQLError): Placed["location"] {
  const start = nodes?.[0]?.loc?.startToken;
  if (!start) return source?.body ? locations?.[0] : undefined;
  // The token of the document's start has line 0.
  return { line: Math.max(start.line, 1), column: Math.max(start.column, 1) };
}

const positionOf = ({ error: { path }, location }: Placed) => [
  ...[location?.line ?? 0, location?.column ?? 0],
  ...(path ?? []),
];

function compare(a: readonly (string | number)[], b: readonly (string | number)[]): number {
  const index = a.findIndex((part, at) => part !== b[at]);
  const [left, right] = [a[index], b[index]];
  if (left === undefined || right === undefined) return a.length - b.length;
  return left < right ? -1 : 1;
}

interface Rendered {
  message: string;
  extensions: { code: string; [name: string]: unknown };
  /** The HTTP status that an answer with `application/graphql-response+json` has. */
  status: number;
  headers?: Record<string, string>;
}

function renderAppError(failure: AppError, { path }: GraphQLError, context: ErrorContext): Rendered {
  logFailure(failure, context);
  const { code, message, faults, retryAfter, currentVersion, holdId, retainedUntil } = failure;
  const fields = faults.map((fault) => ({ path: fault.path.join("."), message: fault.message }));
  return {
    message,
    extensions: {
      code,
      ...(fields.length > 0 && { fields }),
      ...(currentVersion !== undefined && { currentVersion }),
      ...(holdId !== undefined && { holdId }),
      ...(retainedUntil !== undefined && {
        retainedUntil: retainedUntil && new Date(retainedUntil).toISOString(),
      }),
    },
    status: statusOf(code, path !== undefined),
    ...(retryAfter !== undefined && { headers: { "retry-after": String(retryAfter) } }),
  };
}

/** The status is 200 for an operation's errors; these are the exceptions. */
function statusOf(code: ErrorCode, isOfField: boolean): number {
  if (code === "UNAVAILABLE") return 503;
  if (isOfField) return 200;
  return code === "INTERNAL" ? 500 : 400;
}

/** Renders an error that occurred before there was an operation. */
function renderRequestError({ message, extensions }: GraphQLError): Rendered {
  const status = 400;
  if (message.startsWith("Syntax Error"))
    return { message: withoutTokens(message), extensions: { code: "GRAPHQL_PARSE_FAILED" }, status };
  if (typeof extensions.code === "string")
    return { message, extensions: { ...extensions, code: extensions.code }, status };
  return { message, extensions: { code: "GRAPHQL_VALIDATION_FAILED" }, status };
}

/** The failure of an operation with one field; undefined if it has not failed. */
export function failureOf({ errors }: Pick<ExecutionResult, "errors">): AppError | undefined {
  return errors?.[0] && findAppError(errors[0]);
}

function findAppError(error: GraphQLError, context?: ErrorContext): AppError | undefined {
  let cause: unknown = error;
  while (cause instanceof GraphQLError && cause.originalError) cause = cause.originalError;
  if (cause instanceof AppError) return cause;
  if (!error.path) return undefined;
  // During execution, graphql-js itself reports one client error: a null variable for a type that does not allow null. Its
  // message can quote the document.
  const argument = cause instanceof GraphQLError && /^Argument "(\w+)"/.exec(cause.message)?.[1];
  if (!argument) return toAppError(cause);
  const paths = findNulls(cause as GraphQLError, context);
  return badUserInput(
    (paths.length > 0 ? paths : [[]]).map((path) => ({
      path: [argument, ...path],
      kind: "invalid",
      message: "must not be null",
    })),
  );
}

/** The paths inside an argument's value at which a variable is null. */
function findNulls({ nodes }: GraphQLError, context?: ErrorContext): (string | number)[][] {
  const [value] = nodes ?? [];
  const found: (string | number)[][] = [];
  if (value?.kind !== Kind.OBJECT && value?.kind !== Kind.LIST) return found;
  visit(value, {
    Variable(node: VariableNode, _key, parent, _path, ancestors) {
      // An error names no more than this, and a list can contain one variable thousands of times.
      if (found.length > MOST_FAULTS) return BREAK;
      if (context?.isNull?.(node.name.value)) found.push(pathOfValue([...ancestors, parent ?? [], node]));
    },
  });
  return found;
}

/** Removes quotations from a message of graphql-js, because they can be values. Only punctuation and kinds of tokens stay. */
function withoutTokens(message: string): string {
  const [expected, found] = message.split(/(?<=^Syntax Error: Expected .*), found /s, 2) as [string, string?];
  if (found === undefined)
    return expected.startsWith("Syntax Error: Expected ") ? expected : withoutQuotes(expected);
  return `${expected}, found ${/^"[^\w"]+"\.$/.test(found) ? found : withoutQuotes(found)}`;
}

function withoutQuotes(text: string): string {
  return text.replace(/:? ?".*"/s, "");
}

/** The body of the answer to a request that failed as a whole, before there was an operation. */
export function renderGraphqlFailure(failure: AppError | RequestRefusal, requestId: string): object {
  return { errors: [{ message: failure.message, extensions: { code: codeOf(failure), requestId } }] };
}

/** The code of a request that failed as a whole. */
export function codeOf(failure: AppError | RequestRefusal): ErrorCode {
  return failure instanceof RequestRefusal ? "BAD_USER_INPUT" : failure.code;
}
