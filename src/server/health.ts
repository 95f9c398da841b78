import type { FastifyInstance } from "fastify";
import type { Metrics } from "../metrics.ts";

/** How long a probe of the database may take before it counts as failed. Milliseconds. */
const PROBE_TIMEOUT = 2000;

const ALWAYS = { config: { alwaysAnswered: true } };

/** Adds `/health` (the process is alive), `/ready` (it can serve) and `/metrics`. None of them needs a token. */
export function registerHealth(
  app: FastifyInstance,
  parts: { metrics: Metrics; isReady: () => Promise<boolean>; isDraining: () => boolean },
): void {
  app.get("/health", ALWAYS, async () => ({ status: "ok" }));
  app.get("/ready", ALWAYS, async (_request, reply) => {
    const status = parts.isDraining() ? "draining" : (await inTime(parts.isReady)) ? "ready" : "unavailable";
    return reply
      .code(status === "ready" ? 200 : 503)
      .header("cache-control", "no-store")
      .send({ status });
  });
  app.get("/metrics", ALWAYS, async (_request, reply) =>
    reply.type(parts.metrics.contentType).send(await parts.metrics.render()),
  );
}

async function inTime(probe: () => Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, PROBE_TIMEOUT, false);
  });
  try {
    return await Promise.race([probe(), late]);
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}
