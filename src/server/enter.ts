import type { FastifyReply, FastifyRequest, onRequestHookHandler, preHandlerHookHandler } from "fastify";
import type { OperationContext } from "../context.ts";
import { toIdempotencyRequest } from "../idempotency/key.ts";
import { withinSpan } from "../lib/span-scope.ts";
import { runInTurn } from "../lib/turns.ts";
import type { Surface } from "../vocabulary.ts";
import type { AppParts } from "./app-parts.ts";
import type { Admission } from "./load/admission.ts";
import { countFailed, type RateLimiter } from "./rate-limit.ts";
import { createTokenWatch } from "./token-watch.ts";

/** How long a token that was good counts as good. With the time that a look-up counts this is less than a second. Milliseconds. */
const MOMENT = 50;

/** The hooks by which a request enters a surface. */
export interface Entrance {
  /** Before the body: requires a token that is good or absent, counts the request, and sets its `operationContext`. */
  enterBy(surface: Surface): onRequestHookHandler;
  /** After the body, which can take its time: the token must be good when the work begins. */
  reenter: preHandlerHookHandler;
}

/** The hooks by which requests enter the surfaces. Without a limiter, requests are not counted. */
export function createEntrance(
  parts: AppParts,
  admission: Admission,
  limiter: RateLimiter | undefined,
): Entrance {
  const { authenticate, config, db, keys, digestCustomer, log, logs, now } = parts;
  const watchToken = createTokenWatch(authenticate);
  const enter = async (
    { id: requestId, headers, span }: Pick<FastifyRequest, "id" | "headers" | "span">,
    surface: Surface,
  ): Promise<OperationContext> => {
    const { authorization } = headers;
    const enteredAt = performance.now();
    const viewer = await authenticate(authorization);
    const confirmViewer = async () => {
      if (performance.now() - enteredAt > MOMENT) await authenticate(authorization);
    };
    const watchViewer = (onInvalid: () => void) => watchToken(authorization, onInvalid);
    const reads = config.auditReads
      ? { shown: new Map<string, string>(), confirmed: new Map<string, string>() }
      : null;
    const idempotency = toIdempotencyRequest(headers["idempotency-key"]);
    return {
      ...{ db, keys, logs, digestCustomer, viewer, confirmViewer, watchViewer, surface, requestId },
      ...{ idempotency, reads, log, now, unreadable: [], fieldErrors: [], traceId: span?.traceId },
      logName: config.auditLogName,
      enforcedRetention: config.retentionEnforced ? config.retention : null,
      webhookNetworks: config.webhookAllowPrivate,
    };
  };
  const enterBy =
    (surface: Surface): onRequestHookHandler =>
    (request, reply, done) => {
      enter(request, surface).then(
        (context) => {
          request.operationContext = context;
          admission.pause(reply);
          if (limiter) limiter.count(request, reply, context.viewer?.tokenId).then(() => done(), done);
          else done();
        },
        limiter ? (failure) => countFailed(limiter, request, reply, failure).catch(done) : done,
      );
    };
  const reenter: preHandlerHookHandler = (request, reply, done) => {
    admission.resume(reply);
    // A turn that others have begun, or the end of a body, belongs to no request.
    const start = () => runInTurn(() => isWanted(reply) && withinSpan(request.span, done));
    if (reply.elapsedTime <= MOMENT) start();
    else withinSpan(request.span, () => authenticate(request.headers.authorization)).then(start, done);
  };
  return { enterBy, reenter };
}

/** Whether a client still waits for this answer. */
function isWanted(reply: FastifyReply): boolean {
  return !reply.raw.destroyed && !reply.sent;
}
