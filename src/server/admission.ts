import underPressure from "@fastify/under-pressure";
import type { FastifyInstance, FastifyReply, onRequestHookHandler } from "fastify";
import type { Config } from "../config.ts";
import { overloaded, unavailable } from "../errors.ts";
import type { Metrics } from "../metrics.ts";

declare module "fastify" {
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
 * Afterwards requests beyond the limits are answered with UNAVAILABLE before anything is done for them, and so are
 * admitted ones that were not answered within `requestTimeout`; what those have begun may still happen.
 */
export async function limitLoad(
  app: FastifyInstance,
  limits: Pick<Config, "maxConcurrentRequests" | "maxEventLoopDelay" | "requestTimeout">,
  metrics: Metrics,
): Promise<Admission> {
  await app.register(underPressure, {
    maxEventLoopDelay: limits.maxEventLoopDelay,
    sampleInterval: SAMPLE,
    // Infinite before the first sample.
    pressureHandler: ({ routeOptions }, _reply, _type, delay) => {
      if (routeOptions.config.alwaysAnswered || delay === Number.POSITIVE_INFINITY) return undefined;
      metrics.countShed("event_loop");
      return Promise.reject(overloaded());
    },
  });

  /** When each began, in the order of beginning. */
  const underWay = new Map<FastifyReply, number>();
  /** What those that were paused had of their time already, where it is worth counting. */
  const spent = new WeakMap<FastifyReply, number>();
  let now = performance.now();
  const sweep = setInterval(() => {
    now = performance.now();
    for (const [reply, begun] of underWay) {
      const { raw } = reply;
      // A client that went away gets no `onResponse`, and a stream may take as long as it likes.
      if (raw.destroyed || raw.headersSent) underWay.delete(reply);
      else if (now - begun > limits.requestTimeout) {
        metrics.countShed("late");
        refuseLate(reply);
      }
    }
  }, SWEEP).unref();

  function admit(reply: FastifyReply): void {
    if (underWay.size >= limits.maxConcurrentRequests) {
      metrics.countShed("requests");
      throw overloaded();
    }
    underWay.set(reply, now - (spent.get(reply) ?? 0));
  }

  function pause(reply: FastifyReply): void {
    const begun = underWay.get(reply) ?? now;
    if (begun < now) spent.set(reply, now - begun);
    underWay.delete(reply);
  }

  const onRequest: onRequestHookHandler = (request, reply, done) => {
    if (!request.routeOptions.config.alwaysAnswered) admit(reply);
    done();
  };
  app.addHook("onRequest", onRequest);
  app.addHook("onResponse", (_request, reply, done) => {
    underWay.delete(reply);
    done();
  });
  app.addHook("onClose", (_app, done) => {
    clearInterval(sweep);
    done();
  });
  return { pause, resume: admit };
}

function refuseLate(reply: FastifyReply): void {
  // What was read for it is not shown: nothing waits for the trail.
  reply.request.operationContext?.numbersShown?.clear();
  reply.send(unavailable(new Error("the request was not answered in time")));
  // Whatever its handler still comes to has nobody to be sent to.
  reply.hijack();
}
