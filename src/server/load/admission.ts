import type { FastifyInstance, FastifyReply, onRequestHookHandler } from "fastify";
import type { Config } from "../../config/config.ts";
import { withholdAnswer } from "../../context.ts";
import { overloaded, unavailable } from "../../errors.ts";
import type { Metrics } from "../../metrics.ts";
import { EventLoopDelay } from "./event-loop-delay.ts";

declare module "fastify" {
  interface FastifyReply {
    /** Its index among the requests in progress; -1: it has no place. */
    place: number;
    /** When its time began. Milliseconds, of `performance.now()`. */
    begun: number;
    /** How long it was in progress before it was paused. Milliseconds. */
    spent: number;
  }
  interface FastifyContextConfig {
    /** Answered whatever the load: probes must tell an overloaded gateway from a dead one. */
    alwaysAnswered?: boolean;
  }
}

/** Requests that were admitted and are not answered yet. */
export interface Admission {
  /** What there is too much of for another request; undefined: nothing. */
  excess(): "requests" | "event_loop" | undefined;
  /** How many requests may begin now. */
  room(): number;
  /** Takes the place of a request that only waits for its client to send the rest. */
  pause(reply: FastifyReply): void;
  /** Gives a place back to a request. Fails with UNAVAILABLE if there is none. */
  resume(reply: FastifyReply): void;
}

/** How often answers that are due, and places of clients that went away, are looked for. Milliseconds. */
const SWEEP = 100;

/**
 * The requests in progress. A Map would do, but its entries keep earlier ones alive: V8 then moves each request with
 * all that belongs to it into its old space, and collects that again and again.
 */
class Places {
  readonly #requests: (FastifyReply | null)[] = [];
  /** The places that are free, the last one left on top. */
  readonly #free: number[] = [];

  get size(): number {
    return this.#requests.length - this.#free.length;
  }

  take(request: FastifyReply): void {
    request.place = this.#free.pop() ?? this.#requests.length;
    this.#requests[request.place] = request;
  }

  /** Does nothing if it has none. */
  leave(request: FastifyReply): void {
    if (request.place === -1) return;
    this.#requests[request.place] = null;
    this.#free.push(request.place);
    request.place = -1;
  }

  *taken(): Iterable<FastifyReply> {
    for (const request of this.#requests) if (request) yield request;
  }
}

/**
 * Afterwards requests beyond the limits are answered with UNAVAILABLE before anything is done for them, and so are
 * admitted ones that were not answered within `requestTimeout`; what those have begun may still happen.
 */
export function limitLoad(
  app: FastifyInstance,
  limits: Pick<Config, "maxConcurrentRequests" | "maxEventLoopDelay" | "requestTimeout">,
  metrics: Metrics,
): Admission {
  const delay = new EventLoopDelay();
  app.decorateReply("place", -1);
  app.decorateReply("begun", 0);
  app.decorateReply("spent", 0);
  const places = new Places();
  let now = performance.now();
  const sweep = setInterval(() => {
    now = performance.now();
    for (const request of places.taken()) {
      const { raw } = request;
      // A client that went away gets no `onResponse`, and a stream may take as long as it likes.
      if (raw.destroyed || raw.headersSent) places.leave(request);
      else if (now - request.begun > limits.requestTimeout) {
        metrics.countShed("late");
        refuseLate(request);
      }
    }
  }, SWEEP).unref();

  function excess() {
    if (places.size >= limits.maxConcurrentRequests) return "requests";
    return delay.mean > limits.maxEventLoopDelay ? "event_loop" : undefined;
  }

  function room() {
    return excess() ? 0 : limits.maxConcurrentRequests - places.size;
  }

  function admit(reply: FastifyReply): void {
    if (places.size >= limits.maxConcurrentRequests) {
      metrics.countShed("requests");
      throw overloaded();
    }
    reply.begun = now;
    places.take(reply);
  }

  function pause(reply: FastifyReply): void {
    reply.spent = now - reply.begun;
    places.leave(reply);
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
    places.leave(reply);
    done();
  });
  app.addHook("onClose", (_app, done) => {
    clearInterval(sweep);
    delay.stop();
    done();
  });
  return { excess, room, pause, resume };
}

/** Answers with UNAVAILABLE; what the handler still comes to is sent to nobody. */
function refuseLate(reply: FastifyReply): void {
  // What was read for it is not shown: nothing waits for the trail.
  if (reply.request.operationContext) withholdAnswer(reply.request.operationContext);
  reply.send(unavailable(new Error("the request was not answered in time")));
  reply.hijack();
}
