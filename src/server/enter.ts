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

/** How long a checked token counts as valid. Together with the time for which a look-up is used, this is less than a second. */
const VALID_FOR_MS = 50;

/** The hooks by which a request enters a surface. */
export interface Entrance {
  /** Before the body: requires a token that is valid or absent, counts the request, and sets its `operationContext`. */
  enterBy(surface: Surface): onRequestHookHandler;
  /** After the body, which can arrive slowly: the token must be valid when the work begins. */
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
      if (performance.now() - enteredAt > VALID_FOR_MS) await authenticate(authorization);
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
    // The work can begin in a turn of another request, or at the end of a body, where no span is active.
    const start = () => runInTurn(() => isWanted(reply) && withinSpan(request.span, done));
    if (reply.elapsedTime <= VALID_FOR_MS) start();
    else withinSpan(request.span, () => authenticate(request.headers.authorization)).then(start, done);
  };
  return { enterBy, reenter };
}

/** Whether a client still waits for this answer. */
function isWanted(reply: FastifyReply): boolean {
  return !reply.raw.destroyed && !reply.sent;
}
