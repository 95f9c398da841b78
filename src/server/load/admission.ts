import type { FastifyInstance, FastifyReply, onRequestHookHandler } from "fastify";
import type { Config } from "../../config/config.ts";
import { withholdAnswer } from "../../context.ts";
import { overloaded, unavailable } from "../../errors.ts";
import type { Metrics } from "../../metrics.ts";
import { EventLoopDelay } from "./event-loop-delay.ts";

declare module "fastify" {
  interface FastifyReply {
    /** Its index among the requests in progress; -1 if it has none. */
    slot: number;
    /** Start of its time limit, in milliseconds of `performance.now()`. */
    begun: number;
    /** How long it was in progress before it was paused. Milliseconds. */
    spent: number;
  }
  interface FastifyContextConfig {
    /** Answered regardless of load, because probes must distinguish an overloaded gateway from a dead one. */
    alwaysAnswered?: boolean;
  }
}

/** Admits requests, up to a limit of requests in progress. */
export interface Admission {
  /** The limit that prevents another request; undefined if there is none. */
  excess(): "requests" | "event_loop" | undefined;
  /** How many more requests may begin now. */
  room(): number;
  /** Frees the slot of a request that only waits for its client to send the body. */
  pause(reply: FastifyReply): void;
  /** Gives the request a slot again. Fails with UNAVAILABLE if none is free. */
  resume(reply: FastifyReply): void;
}

/** How often late requests, and slots of clients that have left, are looked for. */
const SWEEP_MS = 100;

/**
 * The requests in progress. A Map would be simpler, but its entries keep earlier entries alive, so V8 moves each request and
 * everything that it references into its old space, and must collect that often.
 */
class Slots {
  readonly #replies: (FastifyReply | null)[] = [];
  /** Free slots; the one that was freed last is on top. */
  readonly #free: number[] = [];

  get size(): number {
    return this.#replies.length - this.#free.length;
  }

  occupy(reply: FastifyReply): void {
    reply.slot = this.#free.pop() ?? this.#replies.length;
    this.#replies[reply.slot] = reply;
  }

  /** Does nothing if the request has no slot. */
  free(reply: FastifyReply): void {
    if (reply.slot === -1) return;
    this.#replies[reply.slot] = null;
    this.#free.push(reply.slot);
    reply.slot = -1;
  }

  *occupied(): Iterable<FastifyReply> {
    for (const reply of this.#replies) if (reply) yield reply;
  }
}

/**
 * Afterwards requests above the limits are answered with UNAVAILABLE before any work. Admitted requests that are not
 * answered within `requestTimeout` are answered the same way; what they have begun may still happen.
 */
export function limitLoad(
  app: FastifyInstance,
  limits: Pick<Config, "maxConcurrentRequests" | "maxEventLoopDelay" | "requestTimeout">,
  metrics: Metrics,
): Admission {
  const delay = new EventLoopDelay();
  app.decorateReply("slot", -1);
  app.decorateReply("begun", 0);
  app.decorateReply("spent", 0);
  const slots = new Slots();
  let now = performance.now();
  const sweep = setInterval(() => {
    now = performance.now();
    for (const reply of slots.occupied()) {
      const { raw } = reply;
      // If the client has left, `onResponse` does not run; and a stream may take as long as it needs.
      if (raw.destroyed || raw.headersSent) slots.free(reply);
      else if (now - reply.begun > limits.requestTimeout) {
        metrics.countShed("late");
        refuseLate(reply);
      }
    }
  }, SWEEP_MS).unref();

  function excess() {
    if (slots.size >= limits.maxConcurrentRequests) return "requests";
    return delay.mean > limits.maxEventLoopDelay ? "event_loop" : undefined;
  }

  function room() {
    return excess() ? 0 : limits.maxConcurrentRequests - slots.size;
  }

  function admit(reply: FastifyReply): void {
    if (slots.size >= limits.maxConcurrentRequests) {
      metrics.countShed("requests");
      throw overloaded();
    }
    reply.begun = now;
    slots.occupy(reply);
  }

  function pause(reply: FastifyReply): void {
    reply.spent = now - reply.begun;
    slots.free(reply);
  }

  function resume(reply: FastifyReply): void {
    admit(reply);
    reply.begun -= reply.spent;
  }

  const onRequest: onRequestHookHandler = (request, reply, done) => {
    if (!request.routeOptions.config.alwaysAnswered) {
      if (excess() === "event_loop") {
        metrics.countShed("event_loop");
        throw overloaded();
      }
      admit(reply);
    }
    done();
  };
  app.addHook("onRequest", onRequest);
  app.addHook("onResponse", (_request, reply, done) => {
    slots.free(reply);
    done();
  });
  app.addHook("onClose", (_app, done) => {
    clearInterval(sweep);
    delay.stop();
    done();
  });
  return { excess, room, pause, resume };
}

/** Answers with UNAVAILABLE. The handler's own result is discarded. */
function refuseLate(reply: FastifyReply): void {
  // Nothing that was read for the request is shown, so the audit trail needs no event.
  if (reply.request.operationContext) withholdAnswer(reply.request.operationContext);
  reply.send(unavailable(new Error("the request was not answered in time")));
  reply.hijack();
}
