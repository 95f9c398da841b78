import type { Logger } from "pino";
import type { OperationContext, UnreadableNumber } from "../context.ts";
import type { Observed } from "../graphql/observed.ts";
import type { RequestSpan } from "../lib/span-scope.ts";
import type { Metrics } from "../metrics.ts";
import type { Tracing } from "./tracing.ts";

/** The data about an answered request for metrics and log. */
interface Answered {
  requestId: string;
  /** Of the client. */
  address: string;
  method: string;
  /** The pattern of the route, never the path or query, because those can contain anything. */
  route: string;
  status: number;
  /** From the request's headers to the end of its answer. Milliseconds. */
  elapsed: number;
  /** Undefined if the request did not reach a surface. */
  context: OperationContext | undefined;
  /** Null if it was not a request for a GraphQL operation. */
  observed: Observed | null;
  /** The code of the failure that replaced the whole answer. */
  failureCode: string | undefined;
  /** Undefined: it is not traced. */
  span: RequestSpan | undefined;
}
export type RecordAnswered = (answered: Answered) => void;

/**
 * Counts each answered request and writes its log line. If document numbers that the answer needed can't be decrypted,
 * another line names their records.
 */
export function createAnswerRecord(
  log: Logger,
  metrics: Metrics,
  tracing: Tracing | undefined,
): RecordAnswered {
  return (answered) => {
    const { requestId, address, method, route, status, elapsed, context, observed, span } = answered;
    const viewer = context?.viewer;
    const traceId = span?.traceId;
    const failure = failureOf(answered);
    if (failure !== undefined) metrics.countFailure(route, failure);
    if (span) {
      tracing?.end(span, { requestId, method, route, status, failure, operation: observed?.operation });
    }
    const ms = Math.round(elapsed * 100) / 100;
    metrics.observeRequest(method, route, status, ms / 1000);
    if (observed) metrics.observeOperation(observed.operation, observed.outcome, ms / 1000);
    if (context && context.unreadable.length > 0) {
      const [{ cause }] = context.unreadable as [UnreadableNumber];
      const kycIds = [...new Set(context.unreadable.map(({ kycId }) => kycId))];
      metrics.countUnreadable(kycIds.length);
      log.error(
        { requestId, traceId, account: viewer?.accountId, kycIds, err: cause },
        "document numbers can't be decrypted",
      );
    }
    log.info(
      {
        requestId,
        traceId,
        address,
        method,
        route,
        status,
        ms,
        account: viewer?.accountId,
        token: viewer?.tokenId,
        operation: observed?.operation,
        outcome: failure ?? "OK",
      },
      "answered",
    );
  };
}

/** The code of the failure, or of the answer's first error; undefined: it has none. */
function failureOf({ observed, failureCode }: Answered): string | undefined {
  return observed && observed.outcome !== "OK" ? observed.outcome : failureCode;
}
