import underPressure from "@fastify/under-pressure";
import type { FastifyInstance, FastifyReply, onRequestHookHandler } from "fastify";
import type { Config } from "../config.ts";
import { overloaded, unavailable } from "../errors.ts";

declare module "fastify" {
  interface FastifyReply {
    /** Which place it has among the requests under way; -1: none. */
    place: number;
    /** Since when it counts as under way. Milliseconds, of `performance.now()`. */
    begun: number;
    /** For how long it was under way before it was paused. Milliseconds. */
    spent: number;
  }
  interface FastifyContextConfig {
    /** Answered whatever the load: probes must tell an overloaded gateway from a dead one. */
    alwaysAnswered?: boolean;
  }
}

/** Requests that were admitted, until they are answered. */
export interface Admission {
  /** Takes the place of a request that only waits for its client to send the rest. */
  pause(reply: FastifyReply): void;
  /** Gives a place back to a request. Fails with UNAVAILABLE where there is none. */
  resume(reply: FastifyReply): void;
}

/** How often answers that are due, and places of clients that went away, are looked for. Milliseconds. */
const SWEEP = 100;
/** Over which the delay of the event loop is averaged: a single slow request must not refuse the next. Milliseconds. */
const SAMPLE = 1000;

/**
 * The requests under way. A Map would do, but what goes through one keeps what came before it alive: V8 then moves
 * each request with all that belongs to it into its old space, and collects that again and again.
 */
class Places {
  readonly #replies: (FastifyReply | null)[] = [];
  /** The places that are free, the last one left on top. */
  readonly #free: number[] = [];

  get size(): number {
    return this.#replies.length - this.#free.length;
  }

  take(reply: FastifyReply): void {
    reply.place = this.#free.pop() ?? this.#replies.length;
    this.#replies[reply.place] = reply;
  }

  /** Nothing happens where it has none. */
  leave(reply: FastifyReply): void {
    if (reply.place === -1) return;
    this.#replies[reply.place] = null;
    this.#free.push(reply.place);
    reply.place = -1;
  }

  *taken(): Iterable<FastifyReply> {
    for (const reply of this.#replies) if (reply) yield reply;
  }
}

/**
 * Afterwards requests beyond the limits are answered with UNAVAILABLE before anything is done for them, and so are
 * admitted ones that were not answered within `requestTimeout`; what those have begun may still happen.
 */
export async function limitLoad(
  app: FastifyInstance,
  limits: Pick<Config, "maxConcurrentRequests" | "maxEventLoopDelay" | "requestTimeout">,
): Promise<Admission> {
  await app.register(underPressure, {
    maxEventLoopDelay: limits.maxEventLoopDelay,
    sampleInterval: SAMPLE,
    // Infinite before the first sample.
    pressureHandler: ({ routeOptions }, _reply, _type, delay) =>
      routeOptions.config.alwaysAnswered || delay === Number.POSITIVE_INFINITY
        ? undefined
        : Promise.reject(overloaded()),
  });

  app.decorateReply("place", -1);
  app.decorateReply("begun", 0);
  app.decorateReply("spent", 0);
  const places = new Places();
  let now = performance.now();
  const sweep = setInterval(() => {
    now = performance.now();
    for (const reply of places.taken()) {
      const { raw } = reply;
      // A client that went away gets no `onResponse`, and a stream may take as long as it likes.
      if (raw.destroyed || raw.headersSent) places.leave(reply);
      else if (now - reply.begun > limits.requestTimeout) refuseLate(reply);
    }
  }, SWEEP).unref();

  function admit(reply: FastifyReply): void {
    if (places.size >= limits.maxConcurrentRequests) throw overloaded();
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
    if (!request.routeOptions.config.alwaysAnswered) admit(reply);
    done();
  };
  app.addHook("onRequest", onRequest);
  app.addHook("onResponse", (_request, reply, done) => {
    places.leave(reply);
    done();
  });
  app.addHook("onClose", (_app, done) => {
    clearInterval(sweep);
    done();
  });
  return { pause, resume };
}

function refuseLate(reply: FastifyReply): void {
  // What was read for it is not shown: nothing waits for the trail.
  reply.request.operationContext?.numbersShown?.clear();
  reply.send(unavailable(new Error("the request was not answered in time")));
  // Whatever its handler still comes to has nobody to be sent to.
  reply.hijack();
}
