import type { Logger } from "pino";
import type { OperationContext, UnreadableNumber } from "../context.ts";
import type { Observed } from "../graphql/observed.ts";
import type { Metrics } from "../metrics.ts";

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
}
export type RecordAnswered = (answered: Answered) => void;

/**
 * Counts each answered request and writes its log line. If document numbers that the answer needed can't be decrypted,
 * another line names their records.
 */
export function createAnswerRecord(log: Logger, metrics: Metrics): RecordAnswered {
  return ({ requestId, address, method, route, status, elapsed, context, observed }) => {
    const viewer = context?.viewer;
    const ms = Math.round(elapsed * 100) / 100;
    metrics.observeRequest(method, route, status, ms / 1000);
    if (observed) metrics.observeOperation(observed.operation, observed.outcome, ms / 1000);
    if (context && context.unreadable.length > 0) {
      const [{ cause }] = context.unreadable as [UnreadableNumber];
      const kycIds = [...new Set(context.unreadable.map(({ kycId }) => kycId))];
      metrics.countUnreadable(kycIds.length);
      log.error(
        { requestId, account: viewer?.accountId, kycIds, err: cause },
        "document numbers can't be decrypted",
      );
    }
    log.info(
      {
        requestId,
        address,
        method,
        route,
        status,
        ms,
        account: viewer?.accountId,
        token: viewer?.tokenId,
        operation: observed?.operation,
        outcome: observed?.outcome,
      },
      "answered",
    );
  };
}
