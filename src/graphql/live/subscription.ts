import { setTimeout as wait } from "node:timers/promises";
import { createSourceEventStream, type ExecutionResult, execute } from "graphql";
import { hasReads, recordReads } from "../../audit/record-reads.ts";
import type { LoggedEvent, OperationContext } from "../../context.ts";
import { AppError, toAppError } from "../../errors.ts";
import { type ChangeOfKyc, KycChanges } from "../../kyc/kyc-changes.ts";
import { Turns } from "../../lib/turns.ts";
import { logFailure } from "../../log.ts";
import type { StreamEnd } from "../../vocabulary.ts";
import type { Document, Operation } from "../documents/document.ts";
import { failureOf } from "../errors.ts";
import { resultToJson } from "../rendering.ts";
import { addFieldErrors } from "../schema/field-errors.ts";
import { schema } from "../schema.ts";
import type { TextSource } from "./event-stream.ts";
import { type RenderedPage, sharePages } from "./shared-pages.ts";
import { streamKeyOf } from "./stream-key.ts";

/** Without a matching change, a stream gets an event with its cursor after so long. Milliseconds. */
const PROGRESS_MS = 25_000;
/** From a failure of the database to the next attempt. Milliseconds. */
const AGAIN_MS = 500;
/** The cost of the operations that run at once for one stream: it bounds the memory of its texts. */
const COST_AT_ONCE = 2000;

/**
 * The work of all streams, of which thousands get the same event at once. It takes less of a turn of the event loop than
 * requests do, and these don't wait behind it.
 */
const turns = new Turns(10);

/** A larger document counts for each of its streams, because the one that counted it first can leave before the others. */
const SMALL_DOCUMENT_BYTES = 64 * 1024;

/** Observes what a stream sends. */
export interface StreamObserver {
  /** So many changes were passed on, the oldest of which happened so many milliseconds ago. */
  sent(changes: number, milliseconds: number): void;
}

interface SubscriptionRequest {
  document: Document;
  operation: Operation;
  variables: Readonly<Record<string, unknown>>;
  cost: number;
  context: OperationContext;
  /** Of the header. */
  lastEventId: string | undefined;
}

/** Opens a subscription, or answers with the errors of one that can't be. Fails if there are too many, or not now. */
export async function openSubscription(
  request: SubscriptionRequest,
  observer: StreamObserver,
  pingMs: number,
): Promise<ChangeTexts | ExecutionResult> {
  const { document, operation, variables, context, lastEventId } = request;
  const opened = await createSourceEventStream({
    ...{ schema, document: document.node, rootValue: { lastEventId }, contextValue: context },
    ...{ variableValues: variables, operationName: operation.node.name?.value },
  });
  if (opened instanceof KycChanges) return new ChangeTexts(opened, request, observer, pingMs);
  const result = opened as ExecutionResult;
  const failure = failureOf(result);
  // Clients take an answer to a subscription for its end, and repeat a request that is refused as a whole.
  if (failure?.code === "UNAVAILABLE" || failure?.code === "RATE_LIMITED") throw failure;
  return result;
}

/** The texts of one subscription. */
export class ChangeTexts implements TextSource {
  readonly #changes: KycChanges;
  readonly #request: SubscriptionRequest;
  readonly #observer: StreamObserver;
  readonly #pingMs: number;
  readonly #shared: ReturnType<typeof sharePages>;
  readonly #stopWatching: () => void;
  #isOpen = false;
  #isClosed = false;
  #changedAt = performance.now();
  end: StreamEnd = "gateway";
  /** Changes so far. */
  sent = 0;

  constructor(changes: KycChanges, request: SubscriptionRequest, observer: StreamObserver, pingMs: number) {
    this.#changes = changes;
    this.#request = request;
    this.#observer = observer;
    this.#pingMs = pingMs;
    this.#shared = sharePages(request.operation, streamKeyOf(request));
    this.#stopWatching = request.context.watchViewer(() => this.#finish("token"));
  }

  /** The size of the part of its document that this subscription keeps in memory. Bytes. */
  get bytes(): number {
    const { bytes } = this.#request.document;
    return this.#shared.isFirst || bytes > SMALL_DOCUMENT_BYTES ? bytes : 0;
  }

  async next(): Promise<string | null> {
    try {
      if (this.#isOpen) return await this.#next();
      // Now: the client, and every proxy on the way, learns that the stream has begun.
      this.#isOpen = true;
      return this.#ping();
    } catch (error) {
      if (isUnauthenticated(error)) this.#finish("token");
      else {
        this.#finish("failed");
        const { requestId, traceId, log } = this.#request.context;
        logFailure(toAppError(error), { requestId, traceId, log });
      }
      return null;
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopWatching();
    this.#changes.follower.close();
    this.#shared.release();
  }

  #finish(end: StreamEnd): void {
    this.end = end;
    this.#changes.follower.close();
  }

  async #next(): Promise<string | null> {
    const { follower } = this.#changes;
    const deadline = performance.now() + this.#pingMs;
    for (;;) {
      const events = await follower.next(Math.max(deadline - performance.now(), 0));
      const turn = turns.until();
      if (turn) await turn;
      if (!events) return null;
      try {
        if (events.length > 0) await this.#request.context.confirmViewer();
        const page = events.length > 0 ? await this.#render(events) : undefined;
        if (page) follower.advance(events.length);
        if (page && page.changes > 0) return await this.#passOn(page, events);
        if (performance.now() - this.#changedAt >= PROGRESS_MS) return await this.#progress();
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        await wait(AGAIN_MS);
      }
      if (performance.now() >= deadline) return this.#ping();
    }
  }

  async #passOn({ text, changes }: RenderedPage, [oldest]: readonly LoggedEvent[]): Promise<string> {
    // Subscriptions that share a page get it at the same time.
    const turn = turns.until();
    if (turn) await turn;
    this.#changedAt = performance.now();
    this.sent += changes;
    const { now } = this.#request.context;
    this.#observer.sent(changes, Math.max(now() - (oldest as LoggedEvent).at, 0));
    return text;
  }

  /** Not an event: browsers keep its id, and other clients ignore it. */
  #ping(): string {
    return `:\nid: ${this.#changes.cursor}\n\n`;
  }

  async #progress(): Promise<string> {
    const { context } = this.#request;
    await context.confirmViewer();
    const change = this.#changes.progress(context.now());
    const { text } = await this.#renderChanges([change], context);
    this.#changedAt = performance.now();
    return text;
  }

  #render(events: readonly LoggedEvent[]): Promise<RenderedPage> {
    return this.#shared.pages.take(this.#changes.follower.position, events.length, async () => {
      const { context } = this.#request;
      const reads = context.reads && {
        shown: new Map<string, string>(),
        confirmed: new Map<string, string>(),
      };
      const pageContext: OperationContext = { ...context, reads, unreadable: [] };
      const changes = await this.#changes.select(pageContext, events);
      const page = await this.#renderChanges(changes, pageContext);
      if (hasReads(pageContext)) await recordReads(pageContext);
      noteUnreadable(context, pageContext);
      return page;
    });
  }

  async #renderChanges(changes: readonly ChangeOfKyc[], context: OperationContext): Promise<RenderedPage> {
    const atOnce = Math.max(Math.floor(COST_AT_ONCE / this.#request.cost), 1);
    const page = { text: "", changes: changes.length, hasErrors: false };
    for (let from = 0; from < changes.length; from += atOnce) {
      const some = changes.slice(from, from + atOnce);
      const results = await Promise.all(some.map((change) => this.#execute(change, context)));
      for (const [index, { json, hasErrors }] of results.entries()) {
        page.hasErrors ||= hasErrors;
        page.text += `id: ${some[index]?.cursor}\nevent: next\ndata: ${json}\n\n`;
      }
    }
    return page;
  }

  async #execute(change: ChangeOfKyc, pageContext: OperationContext) {
    const { document, operation, variables } = this.#request;
    const turn = turns.until();
    if (turn) await turn;
    const context: OperationContext = { ...pageContext, fieldErrors: [] };
    const result = await execute({
      ...{ schema, document: document.node, rootValue: change, contextValue: context },
      ...{ variableValues: variables, operationName: operation.node.name?.value },
    });
    for (const error of result.errors ?? []) {
      const failure = failureOf({ errors: [error] });
      if (failure?.code === "UNAVAILABLE") throw failure;
    }
    const complete = addFieldErrors(context, result);
    return { json: resultToJson(complete, variables, context), hasErrors: complete.errors !== undefined };
  }
}

/** Records that are named in one line of the log, at most. */
const MOST_UNREADABLE = 100;

/** Adds what the line about the request names at its end. */
function noteUnreadable({ unreadable }: OperationContext, page: OperationContext): void {
  unreadable.push(...page.unreadable.slice(0, MOST_UNREADABLE - unreadable.length));
}

const isUnavailable = (error: unknown) => error instanceof AppError && error.code === "UNAVAILABLE";
const isUnauthenticated = (error: unknown) => error instanceof AppError && error.code === "UNAUTHENTICATED";
