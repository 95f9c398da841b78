import {
  type ASTVisitor,
  type DocumentNode,
  type ExecutionResult,
  GraphQLError,
  type GraphQLErrorExtensions,
  type GraphQLSchema,
  getNamedType,
  isInputObjectType,
  Kind,
  NoSchemaIntrospectionCustomRule,
  specifiedRules,
  type ValidationContext,
  ValuesOfCorrectTypeRule,
  validate,
} from "graphql";
import type { QueryLimits } from "../config.ts";
import { AppError, badUserInput, toAppError } from "../errors.ts";
import { type FailureLog, logFailure } from "../log.ts";
import { findExcesses } from "./documents/limits.ts";
import { describe } from "./variables.ts";

/** How one request's errors are rendered. */
export interface ErrorScene {
  requestId: string;
  log: FailureLog;
}

/**
 * The errors of an answer as clients see them: each with a code of the catalogue and the request's id, none with a
 * value, and with the HTTP status it asks for. What was unforeseen is in the log.
 */
export function renderErrors(errors: readonly GraphQLError[], scene: ErrorScene): GraphQLError[] {
  return errors.map((error) => {
    const failure = findAppError(error);
    const rendered = failure ? renderAppError(failure, error, scene) : renderRequestError(error, scene);
    // Always a new error: the caches of parsed and validated documents share theirs between requests.
    return new GraphQLError(rendered.message, {
      nodes: error.nodes ?? null,
      source: error.source ?? null,
      positions: error.positions ?? null,
      path: error.path ?? null,
      extensions: { ...rendered.extensions, requestId: scene.requestId },
    });
  });
}

/** The errors by their places in the document and in the answer, whichever field failed first. */
export function inDocumentOrder(errors: readonly GraphQLError[]): GraphQLError[] {
  return [...errors].sort((a, b) => compare(placeOf(a), placeOf(b)));
}

const placeOf = ({ locations, path }: GraphQLError) => [
  locations?.[0]?.line ?? 0,
  locations?.[0]?.column ?? 0,
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
  extensions: GraphQLErrorExtensions;
}

function renderAppError(failure: AppError, error: GraphQLError, scene: ErrorScene): Rendered {
  logFailure(failure, scene);
  const { code, message, faults, retryAfter, currentVersion } = failure;
  const fields = faults.map((fault) => ({ path: fault.path.join("."), message: fault.message }));
  return {
    message,
    extensions: {
      code,
      ...(fields.length > 0 && { fields }),
      ...(currentVersion !== undefined && { currentVersion }),
      ...httpOf(code, retryAfter, error),
    },
  };
}

/** The status is 200 for an operation's errors; these are the exceptions. */
function httpOf(code: string, retryAfter: number | undefined, error: GraphQLError): GraphQLErrorExtensions {
  if (retryAfter !== undefined) {
    const headers = { "Retry-After": String(retryAfter) };
    return { http: code === "UNAVAILABLE" ? { status: 503, headers } : { headers } };
  }
  if (error.path) return {};
  if (code === "INTERNAL") return { http: { status: 500 } };
  return BAD_REQUEST;
}

// `spec`: as GraphQL over HTTP has it, 400 for `application/graphql-response+json`, 200 for `application/json`.
const BAD_REQUEST = { http: { status: 400, spec: true } };

const OWN_CODES = new Set([
  "GRAPHQL_VALIDATION_FAILED",
  "PERSISTED_QUERY_NOT_FOUND",
  "PERSISTED_QUERY_NOT_SUPPORTED",
  "PERSISTED_QUERY_ID_REQUIRED",
]);

/** An error of a request that never became an operation's: written by graphql-js or Yoga. */
function renderRequestError(error: GraphQLError, scene: ErrorScene): Rendered {
  const { message, extensions } = error;
  const http = extensions.http ? { http: extensions.http } : BAD_REQUEST;
  if (message.startsWith("Syntax Error")) {
    return { message: withoutTokens(message), extensions: { code: "GRAPHQL_PARSE_FAILED", ...http } };
  }
  // The figures are the document's, counted here.
  if (extensions.code === "QUERY_TOO_COMPLEX") return { message, extensions: { ...extensions, ...http } };
  if (typeof extensions.code === "string" && OWN_CODES.has(extensions.code)) {
    return { message, extensions: { code: extensions.code, ...http } };
  }
  // JSON's parser quotes its input. GraphQL over HTTP has 400 here for every media type.
  if (error.originalError?.name === "SyntaxError" || "originalError" in extensions) {
    return {
      message: "The request holds something that is not JSON.",
      extensions: { code: "BAD_USER_INPUT", http: { status: 400 } },
    };
  }
  if (error.originalError) return renderAppError(toAppError(error.originalError), error, scene);
  return { message, extensions: { code: "BAD_USER_INPUT", ...http } };
}

/** What an operation of one field has failed with; undefined where it has not, or never was one. */
export function failureOf({ errors }: Pick<ExecutionResult, "errors">): AppError | undefined {
  return errors?.[0] && findAppError(errors[0]);
}

function findAppError(error: GraphQLError): AppError | undefined {
  let cause: unknown = error;
  while (cause instanceof GraphQLError && cause.originalError) cause = cause.originalError;
  if (cause instanceof AppError) return cause;
  if (!error.path) return undefined;
  // Inside an operation the only fault of a client's that graphql-js finds itself is a null variable in an
  // argument's place. Its text can quote the document.
  const argument = cause instanceof GraphQLError && /^Argument "(\w+)"/.exec(cause.message)?.[1];
  if (argument) return badUserInput([{ path: [argument], kind: "invalid", message: "must not be null" }]);
  return toAppError(cause);
}

/** graphql-js quotes what it stumbled on, which can be a value: only punctuation and kinds of tokens stay. */
function withoutTokens(message: string): string {
  const [expected, found] = message.split(/(?<=^Syntax Error: Expected .*), found /s, 2) as [string, string?];
  if (found === undefined)
    return expected.startsWith("Syntax Error: Expected ") ? expected : withoutQuotes(expected);
  return `${expected}, found ${/^"[^\w"]+"\.$/.test(found) ? found : withoutQuotes(found)}`;
}

function withoutQuotes(text: string): string {
  return text.replace(/:? ?".*"/s, "");
}

/** Finds what is wrong with a document. */
export type Validate = (schema: GraphQLSchema, document: DocumentNode) => readonly GraphQLError[];

/**
 * Validation as graphql-js does it, with texts that repeat no value of the document. What is beyond the limits is
 * refused before other rules look at it: some take long for documents of many parts.
 */
export function createValidation(options: { introspection: boolean; queryLimits: QueryLimits }): Validate {
  const quiet = specifiedRules.map((rule) => (rule === ValuesOfCorrectTypeRule ? QuietValuesRule : rule));
  const rules = options.introspection ? quiet : [...quiet, NoSchemaIntrospectionCustomRule];
  return (schema, document) => {
    const excesses = findExcesses(schema, document, options.queryLimits);
    return excesses.length > 0 ? excesses : validate(schema, document, rules);
  };
}

/** Faults of an object name its fields, which are the schema's or the client's; all others quote a value. */
function QuietValuesRule(context: ValidationContext): ASTVisitor {
  const quiet: ValidationContext = Object.create(context, {
    reportError: {
      value: (error: GraphQLError) => {
        const type = context.getInputType();
        const [node] = error.nodes ?? [];
        const isObject = node?.kind === Kind.OBJECT && isInputObjectType(getNamedType(type));
        const quotes = node !== undefined && node.kind !== Kind.OBJECT_FIELD && !isObject;
        const message = quotes ? `A value ${type ? describe(type) : "is of the wrong type"}.` : error.message;
        context.reportError(new GraphQLError(message, error));
      },
    },
  });
  return ValuesOfCorrectTypeRule(quiet);
}
