import type { IncomingHttpHeaders } from "node:http";
import type { EndedStatement } from "../db/client.ts";
import type { RequestSpan } from "../lib/span-scope.ts";

/** What a request's span says of it. All of it is from closed sets, or made here: nothing that a client has written. */
export interface TracedAnswer {
  requestId: string;
  method: string;
  /** A pattern, never a path. */
  route: string;
  status: number;
  /** The code of its failure, or of its answer's first error; undefined: it has none. */
  failure: string | undefined;
  /** Of GraphQL: the label of its operation. */
  operation: string | undefined;
}

/** How many spans of traces that are sampled have ended, and what has become of them so far. */
export interface SpanCounts {
  ended: number;
  exported: number;
  /** Given up, because the collector did not take them in time. */
  failed: number;
}

/** Where the spans go. */
export interface Tracing {
  /** Begins the span of a request, within the trace that its headers name. */
  begin(headers: IncomingHttpHeaders): RequestSpan;
  /** Ends a request's span. */
  end(span: RequestSpan, answered: TracedAnswer): void;
  /** Adds the span of a statement to the trace of the request that it served, if there is one. */
  statementEnded(statement: EndedStatement): void;
  readonly counts: Readonly<SpanCounts>;
  /** Exports what is left, as far as that takes no longer than two seconds. */
  close(): Promise<void>;
}
