import { AsyncLocalStorage } from "node:async_hooks";

/** The span of a request, without the details of its export. */
export interface RequestSpan {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** Whether it will be exported. */
  readonly isSampled: boolean;
}

/** The requests that a statement serves. */
interface Scope {
  /** The request whose trace has the statement's span. */
  owner: RequestSpan;
  /** Other requests that the same statement serves: its span links to theirs. */
  others: readonly RequestSpan[];
}

const scopes = new AsyncLocalStorage<Scope | undefined>();

/** The requests that a statement sent now serves; undefined without a traced request. */
export function currentScope(): Scope | undefined {
  return scopes.getStore();
}

/** Does the work, whose statements belong to this request. Without a span, nothing but the work is done. */
export function withinSpan<T>(span: RequestSpan | undefined, work: () => T): T {
  return span ? scopes.run({ owner: span, others: [] }, work) : work();
}

/**
 * Does work that serves all of these requests: it belongs to the first that is sampled. Work for no request belongs to
 * none, whichever request has caused it to begin now.
 */
export function withinSpans<T>(spans: Iterable<RequestSpan>, work: () => T): T {
  const all = [...new Set(spans)];
  if (all.length === 0) return scopes.getStore() ? scopes.run(undefined, work) : work();
  const owner = all.find(({ isSampled }) => isSampled) ?? (all[0] as RequestSpan);
  return scopes.run({ owner, others: all.filter((span) => span !== owner) }, work);
}
