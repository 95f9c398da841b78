import { type ExecutionResult, execute, GraphQLError, OperationTypeNode } from "graphql";
import { type OperationContext, withholdAnswer } from "../context.ts";
import { badUserInput, RequestRefusal } from "../errors.ts";
import type { Document, Operation, ReadDocument } from "./documents/document.ts";
import { tooCostly } from "./documents/limits.ts";
import type { TrustedDocuments } from "./documents/trusted-documents.ts";
import { failureOf, renderErrors } from "./errors.ts";
import { type MediaType, negotiate } from "./media-type.ts";
import { NO_OPERATION, type Observed } from "./observed.ts";
import { type Params, type ParamsRequest, readParams } from "./params.ts";
import { addFieldErrors } from "./schema/field-errors.ts";
import { schema } from "./schema.ts";
import type { QueryLimits } from "./settings.ts";

/** A request, once its token is known to be good or absent. */
interface GraphqlRequest extends ParamsRequest {
  operationContext: OperationContext;
  /** The state of the rate limit for the answer, if there is a limit. */
  rateLimit?: object | null;
}

/** The answer to a request, and what is observed of it. */
interface GraphqlAnswer extends Observed {
  status: number;
  headers: Record<string, string>;
  mediaType: MediaType;
  body: string;
}

/**
 * Answers a GET or a POST. Every request for an operation passes through here, regardless of its spelling. Fails with a
 * RequestRefusal if the request as a whole is refused; then nothing has been executed. A failed operation is an answer with
 * errors.
 */
export type AnswerGraphql = (request: GraphqlRequest) => Promise<GraphqlAnswer>;

/** The result of a request, and what it depends on. */
interface Outcome {
  result: ExecutionResult;
  variables: Readonly<Record<string, unknown>>;
  cost?: number;
}

/** The function that answers from these documents, within the limit of what an operation may cost. */
export function createAnswer(
  read: ReadDocument,
  limits: Pick<QueryLimits, "cost">,
  trusted: TrustedDocuments,
): AnswerGraphql {
  async function perform(request: GraphqlRequest): Promise<Outcome & { label: string }> {
    let params: Params;
    let document: Document | readonly GraphQLError[];
    try {
      params = readParams(request, trusted);
      document = read(params.query);
    } catch (error) {
      if (!(error instanceof GraphQLError)) throw error;
      document = [error];
      params = NO_PARAMS;
    }
    if ("length" in document) return { ...failed(document), ...costIn(document), label: NO_OPERATION };
    const operation = document.operation(params.operationName);
    if (!operation) return { ...failed([undetermined(params)]), label: NO_OPERATION };
    requirePost(request.method, operation);
    const label = operation.label(trusted.includes(params.query));
    return { ...(await run(document, operation, params.variables ?? {}, request)), label };
  }

  async function run(
    { node }: Document,
    operation: Operation,
    variables: Readonly<Record<string, unknown>>,
    { operationContext: context }: GraphqlRequest,
  ): Promise<Outcome> {
    const faults = [...operation.findVariableFaults(variables)];
    if (context.idempotency) faults.push(...operation.keyMisuse);
    const cost = operation.costOf(variables);
    const outcome = { variables, cost };
    if (faults.length > 0) {
      const originalError = badUserInput(faults);
      return { ...outcome, result: { errors: [new GraphQLError(originalError.message, { originalError })] } };
    }
    if (cost > limits.cost)
      return { ...outcome, result: { errors: [tooCostly(cost, limits.cost, operation.node)] } };
    const result = await execute({
      ...{ schema, document: node, contextValue: context, variableValues: variables },
      operationName: operation.node.name?.value,
    });
    return { ...outcome, result: addFieldErrors(context, result) };
  }

  return async (request) => {
    const mediaType = negotiate(request.headers.accept);
    const { label, ...outcome } = await perform(request);
    const { data } = outcome.result;
    // If the parent of a field failed, a number that was read for it is not in the answer.
    if (!data) withholdAnswer(request.operationContext, failureOf(outcome.result));
    const extensions = extensionsOf(outcome.cost, limits.cost, request.rateLimit);
    return {
      operation: label,
      mediaType,
      ...render(outcome, mediaType, extensions, request.operationContext),
    };
  };
}

const NO_PARAMS: Params = { query: "" };

const failed = (errors: readonly GraphQLError[]): Outcome => ({
  variables: {},
  result: { errors },
});

/** The cost of a document that was refused because of its size. */
function costIn([error]: readonly GraphQLError[]): { cost?: number } {
  const { requested } = (error?.extensions.cost ?? {}) as { requested?: number };
  return requested === undefined ? {} : { cost: requested };
}

function undetermined({ operationName }: Params): GraphQLError {
  const message =
    operationName == null
      ? "The document does not have exactly one operation: name the one to run in operationName."
      : "The document has no operation of the name that operationName gives.";
  return new GraphQLError(message, { extensions: { code: "BAD_USER_INPUT" } });
}

/** Refuses mutations by GET: browsers send GET to other origins without a preflight, and caches and link checkers repeat it. */
function requirePost(method: string, { node }: Operation): void {
  if (method === "POST" || node.operation === OperationTypeNode.QUERY) return;
  throw new RequestRefusal(405, "method_unsupported", "A mutation must be sent by POST.", { allow: "POST" });
}

/** JSON, empty if there is nothing to say. */
function extensionsOf(cost: number | undefined, limit: number, rateLimit?: object | null): string {
  const parts: string[] = [];
  if (cost !== undefined) parts.push(`"cost":{"requested":${cost},"limit":${limit}}`);
  if (rateLimit) parts.push(`"rateLimit":${JSON.stringify(rateLimit)}`);
  return parts.length === 0 ? "" : `,"extensions":{${parts.join()}}`;
}

function render(
  { result: { data, errors }, variables }: Outcome,
  mediaType: MediaType,
  extensions: string,
  context: OperationContext,
): Pick<GraphqlAnswer, "status" | "headers" | "body" | "outcome"> {
  if (!errors) {
    const body = wrap(`{"data":${JSON.stringify(data)}${extensions}}`, mediaType);
    return { status: 200, headers: {}, body, outcome: "OK" };
  }
  // An omitted variable has its default value, or is absent.
  const isNull = (name: string) => Object.hasOwn(variables, name) && variables[name] === null;
  const rendered = renderErrors(errors, { ...context, isNull });
  const json = `${JSON.stringify({ errors: rendered.errors, data }).slice(0, -1)}${extensions}}`;
  return {
    // GraphQL over HTTP: with `application/json`, the status says only whether the server understood the request.
    status:
      rendered.status === 400 && mediaType !== "application/graphql-response+json" ? 200 : rendered.status,
    headers: rendered.headers,
    body: wrap(json, mediaType),
    outcome: String(rendered.errors[0]?.extensions.code),
  };
}

/** As an event stream, an answer is one event and the end, as clients of graphql-sse expect. */
function wrap(json: string, mediaType: MediaType): string {
  return mediaType === "text/event-stream"
    ? `event: next\ndata: ${json}\n\nevent: complete\ndata:\n\n`
    : json;
}
