import type { IncomingHttpHeaders } from "node:http";
import type { EndedStatement } from "../db/client.ts";
import type { RequestSpan } from "../lib/span-scope.ts";
import type { SpanCounts } from "../state-metrics.ts";

/** The data of a request's span. All values come from closed sets or from the gateway, never from a client. */
export interface TracedAnswer {
  requestId: string;
  method: string;
  /** A pattern, never a path. */
  route: string;
  status: number;
  /** The code of its failure, or of its answer's first error; undefined: it has none. */
  failure: string | undefined;
  /** The label of its GraphQL operation. */
  operation: string | undefined;
}

/** Creates and exports spans. */
export interface Tracing {
  /** Begins the span of a request, within the trace that its headers name. */
  begin(headers: IncomingHttpHeaders): RequestSpan;
  /** Ends a request's span. */
  end(span: RequestSpan, answered: TracedAnswer): void;
  /** Adds the span of a statement to the trace of the request that it served, if there is one. */
  statementEnded(statement: EndedStatement): void;
  readonly counts: Readonly<SpanCounts>;
  /** Exports the remaining spans, for at most two seconds. */
  close(): Promise<void>;
}
