import { setTimeout as wait } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { toHttp, unavailable } from "../errors.ts";
import { untilTurn } from "../lib/turns.ts";
import type { ProcessMetrics } from "../metrics.ts";

/** Time limit of a probe of the database. */
const PROBE_TIMEOUT_MS = 2000;

/** How long the result of a probe is used, so that many requests cause few probes. */
const PROBE_USED_FOR_MS = 500;

/** How long `/metrics` waits for a probe, at most. */
const SCRAPE_WAITS_MS = 300;

const ALWAYS = { config: { alwaysAnswered: true } };

/** Adds `/health` (the process is alive), `/ready` (it can serve) and `/metrics`. None of them needs a token. */
export function registerHealth(
  app: FastifyInstance,
  parts: { metrics: ProcessMetrics; isReady: () => Promise<boolean>; isDraining: () => boolean },
): void {
  const isReady = shared(() => inTime(parts.isReady));
  app.get("/health", ALWAYS, async () => ({ status: "ok" }));
  app.get("/ready", ALWAYS, async (_request, reply) => {
    const status = parts.isDraining() ? "draining" : (await isReady()) ? "ready" : "unavailable";
    // Close the prober's connection: it needs no other answer, and a single client that reconnects is no load.
    if (status === "draining") reply.header("connection", "close");
    if (status !== "ready") reply.code(503).headers(toHttp(unavailable()).headers);
    return reply.send({ status });
  });
  app.get("/metrics", ALWAYS, async (_request, reply) => {
    const probe = isReady().then((ready) => parts.metrics.setReady(ready && !parts.isDraining()));
    // Don't wait for a database that does not answer: use the state of an earlier probe.
    await Promise.race([probe, wait(SCRAPE_WAITS_MS, undefined, { ref: false })]);
    // Rendering takes some milliseconds.
    await untilTurn();
    return reply.type(parts.metrics.contentType).send(await parts.metrics.render());
  });
}

/** Callers that ask while a probe is running, or shortly after it began, share its result. */
function shared(probe: () => Promise<boolean>): () => Promise<boolean> {
  let answer: Promise<boolean> | undefined;
  const begin = async () => {
    const kept = wait(PROBE_USED_FOR_MS, undefined, { ref: false });
    const isReady = await probe();
    void kept.then(() => {
      answer = undefined;
    });
    return isReady;
  };
  return () => {
    answer ??= begin();
    return answer;
  };
}

async function inTime(probe: () => Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, PROBE_TIMEOUT_MS, false);
  });
  try {
    return await Promise.race([probe(), late]);
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}
