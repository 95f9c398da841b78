import { Readable } from "node:stream";
import { execute, GraphQLError, OperationTypeNode } from "graphql";
import { type OperationContext, withholdAnswer } from "../context.ts";
import { badUserInput, RequestRefusal } from "../errors.ts";
import type { StreamEnd } from "../vocabulary.ts";
import type { Document, Operation, ReadDocument } from "./documents/document.ts";
import { tooCostly } from "./documents/limits.ts";
import type { TrustedDocuments } from "./documents/trusted-documents.ts";
import { failureOf } from "./errors.ts";
import { EventStream } from "./live/event-stream.ts";
import { ChangeTexts, openSubscription, type StreamObserver } from "./live/subscription.ts";
import { EVENT_STREAM, type MediaType, negotiate, requireEventStream } from "./media-type.ts";
import { NO_OPERATION, type Observed } from "./observed.ts";
import { type Params, type ParamsRequest, readParams } from "./params.ts";
import { extensionsOf, type Outcome, render } from "./rendering.ts";
import { addFieldErrors } from "./schema/field-errors.ts";
import { schema } from "./schema.ts";
import type { QueryLimits } from "./settings.ts";

/** A request whose token is valid or absent. */
interface GraphqlRequest extends ParamsRequest {
  operationContext: OperationContext;
  /** The state of the rate limit for the answer, if there is a limit. */
  rateLimit?: object | null;
}

/** The answer to a request, with its labels for metrics and log. */
interface GraphqlAnswer extends Observed {
  status: number;
  headers: Record<string, string>;
  mediaType: MediaType;
  /** An empty stream for a HEAD whose GET would open a stream: its answer has neither a body nor a length. */
  body: string | EventStream | Readable;
}

/**
 * Answers a GET or a POST. Every request for an operation passes through here, regardless of its spelling. Fails with a
 * RequestRefusal if the request as a whole is refused; then nothing has been executed. A failed operation is an answer with
 * errors.
 */
export type AnswerGraphql = (request: GraphqlRequest) => Promise<GraphqlAnswer>;

/** How subscriptions are served. */
export interface Live extends StreamObserver {
  /** How often a stream without events shows that it is alive. Milliseconds. */
  pingMs: number;
  /** A client that reads nothing for this long is slow. Milliseconds. */
  slowAfter: number;
  /** A stream has ended, after so many changes and milliseconds. */
  ended(context: OperationContext, end: StreamEnd, changes: number, milliseconds: number): void;
}

/** The outcome of a request. */
type Performed = Outcome & {
  label: string;
  /** Whether it was for a subscription. */
  isLive?: boolean;
  /** The events of an opened subscription; null for a HEAD, which opens none. */
  texts?: ChangeTexts | null;
};

/** Creates the function that answers requests for these documents, up to the limit of an operation's cost. */
export function createAnswer(
  read: ReadDocument,
  limits: Pick<QueryLimits, "cost">,
  trusted: TrustedDocuments,
  live: Live,
): AnswerGraphql {
  async function perform(request: GraphqlRequest): Promise<Performed> {
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
    if (isSubscription(operation)) requireEventStream(request.headers.accept);
    const label = operation.label(trusted.includes(params.query));
    const isLive = isSubscription(operation);
    return { ...(await run(document, operation, params.variables ?? {}, request)), label, isLive };
  }

  async function run(
    document: Document,
    operation: Operation,
    variables: Readonly<Record<string, unknown>>,
    { operationContext: context, headers, method }: GraphqlRequest,
  ): Promise<Omit<Performed, "label">> {
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
    if (isSubscription(operation)) {
      // Nothing is opened for an answer without a body.
      if (method === "HEAD") return { ...outcome, result: {}, texts: null };
      const lastEventId = headers["last-event-id"] as string | undefined;
      const request = { document, operation, variables, cost, context, lastEventId };
      const opened = await openSubscription(request, live, live.pingMs);
      return opened instanceof ChangeTexts
        ? { ...outcome, result: {}, texts: opened }
        : { ...outcome, result: opened };
    }
    const result = await execute({
      ...{ schema, document: document.node, contextValue: context, variableValues: variables },
      operationName: operation.node.name?.value,
    });
    return { ...outcome, result: addFieldErrors(context, result) };
  }

  return async (request) => {
    const negotiated = negotiate(request.headers.accept);
    const { label, texts, ...outcome } = await perform(request);
    const mediaType = outcome.isLive ? EVENT_STREAM : negotiated;
    if (texts !== undefined) {
      const body = texts === null ? Readable.from([]) : streamOf(texts, live, request.operationContext);
      return { operation: label, outcome: "OK", status: 200, headers: STREAM_HEADERS, mediaType, body };
    }
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

function streamOf(texts: ChangeTexts, live: Live, context: OperationContext): EventStream {
  const openedAt = performance.now();
  const onEnd = (end: StreamEnd) => live.ended(context, end, texts.sent, performance.now() - openedAt);
  return new EventStream(texts, live.slowAfter, onEnd);
}

const isSubscription = ({ node }: Operation) => node.operation === OperationTypeNode.SUBSCRIPTION;

/** Makes nginx pass on each event at once, and keeps proxies from changing the stream. */
const STREAM_HEADERS = { "x-accel-buffering": "no", "cache-control": "no-store, no-transform" };

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
  if (method === "POST" || node.operation !== OperationTypeNode.MUTATION) return;
  throw new RequestRefusal(405, "method_unsupported", "A mutation must be sent by POST.", { allow: "POST" });
}
