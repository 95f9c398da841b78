import type { Logger } from "pino";
import type { Viewer } from "../auth/scopes.ts";
import type { Observed } from "../graphql/observed.ts";
import type { Metrics } from "../metrics.ts";

/** What is told of a request that was answered. */
interface Answered {
  requestId: string;
  /** Of the client. */
  address: string;
  method: string;
  /** The pattern of the route, never the path or the query: those can hold anything. */
  route: string;
  status: number;
  /** From the request's headers to the end of its answer. Milliseconds. */
  elapsed: number;
  viewer: Viewer | null | undefined;
  /** Null where it was not for GraphQL's answer. */
  observed: Observed | null;
}
export type RecordAnswered = (answered: Answered) => void;

/** Counts each request that was answered, and writes its line in the log. */
export function createAnswerRecord(log: Logger, metrics: Metrics): RecordAnswered {
  return ({ requestId, address, method, route, status, elapsed, viewer, observed }) => {
    const ms = Math.round(elapsed * 100) / 100;
    metrics.observeRequest(method, route, status, ms / 1000);
    if (observed) metrics.observeOperation(observed.operation, observed.outcome, ms / 1000);
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
