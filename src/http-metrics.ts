import { Counter, Gauge, type Registry } from "prom-client";
import type { PoolUsage } from "./db/client.ts";
import { Histogram } from "./lib/histogram.ts";

/** Receives what happens to the requests and connections of an HTTP server. */
export interface HttpMetrics {
  /** Counts a request that was refused, or given up, to bound the load. */
  countShed(reason: ShedReason): void;
  /** Counts a request above the rate limit of its token or of its address. */
  countLimited(by: "token" | "address"): void;
  /** Counts a connection that was cut to bound the memory that clients use. */
  countCut(reason: CutReason): void;
  /** Sets the source of the figures of that memory. */
  watchMemory(read: () => Record<CutReason, number>): void;
  /** Counts one answered request. `route` is a pattern, not a path. */
  observeRequest(method: string, route: string, status: number, seconds: number): void;
  /** Counts a request that was answered with this code, of the closed lists of errors. */
  countFailure(route: string, code: string): void;
}

/** More requests than may be in progress, a busy event loop, no answer in time, or too many bytes of uploads. */
type ShedReason = "requests" | "event_loop" | "late" | "uploads";
/** Requests that are still arriving or wait, or answers that clients have not read. */
type CutReason = "uploads" | "unsent";

/** Upper bounds of the times of requests. Seconds. */
export const REQUEST_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The methods that requests are counted under. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** Stands for all other methods. OpenTelemetry's conventions have this word. */
export const OTHER_METHOD = "_OTHER";

/** The method of a request in metrics and traces. Node accepts 34, and each would add series for each route. */
export const labelOfMethod = (method: string) => (METHODS.has(method) ? method : OTHER_METHOD);

/** Adds the figures of an HTTP server. */
export function addHttp(registry: Registry, usage: () => PoolUsage): HttpMetrics {
  const shed = { requests: 0, event_loop: 0, late: 0, uploads: 0 };
  new Counter({
    name: "http_requests_shed_total",
    help: "Requests that got 503 to bound the load, by what exceeded its limit; queue: statements.",
    labelNames: ["reason"],
    registers: [registry],
    collect() {
      setAll(this, "reason", { ...shed, queue: usage().refused });
    },
  });
  const limited = { token: 0, address: 0 };
  new Counter({
    name: "http_requests_limited_total",
    help: "Requests that got 429, by what was limited.",
    labelNames: ["by"],
    registers: [registry],
    collect() {
      setAll(this, "by", limited);
    },
  });
  const requests = new Histogram(registry, {
    name: "http_request_duration_seconds",
    help: "Time from a request's headers to the end of its answer.",
    labelNames: ["method", "route", "status"],
    buckets: REQUEST_BUCKETS,
  });
  const failures = new Counter({
    name: "http_request_errors_total",
    help: "Requests that were answered with an error, by its code; of GraphQL, the first one.",
    labelNames: ["route", "code"],
    registers: [registry],
  });
  return {
    ...addMemory(registry),
    countShed: (reason) => {
      shed[reason] += 1;
    },
    countLimited: (by) => {
      limited[by] += 1;
    },
    observeRequest: (method, route, status, seconds) =>
      requests.observe(seconds, labelOfMethod(method), route, String(status)),
    countFailure: (route, code) => failures.inc({ route, code }),
  };
}

/** Adds the figures of the memory that clients use. */
function addMemory(registry: Registry): Pick<HttpMetrics, "countCut" | "watchMemory"> {
  let read = () => ({ uploads: 0, unsent: 0 });
  new Gauge({
    name: "http_upload_bytes",
    help: "Bytes of requests that are still arriving, wait for their turn, or are in progress with a body.",
    registers: [registry],
    collect() {
      this.set(read().uploads);
    },
  });
  new Gauge({
    name: "http_unsent_bytes",
    help: "Bytes of answers that clients have not read yet.",
    registers: [registry],
    collect() {
      this.set(read().unsent);
    },
  });
  const cut = { uploads: 0, unsent: 0 };
  new Counter({
    name: "http_connections_cut_total",
    help: "Connections that were cut because all together used too much memory, by what used it.",
    labelNames: ["reason"],
    registers: [registry],
    collect() {
      setAll(this, "reason", cut);
    },
  });
  return {
    countCut: (reason) => {
      cut[reason] += 1;
    },
    watchMemory: (source) => {
      read = source;
    },
  };
}

/** Sets a counter to these figures, which are counted elsewhere. */
function setAll<Label extends string>(
  counter: Counter<Label>,
  label: Label,
  figures: Record<string, number>,
): void {
  counter.reset();
  for (const [value, figure] of Object.entries(figures))
    counter.inc({ [label]: value } as Record<Label, string>, figure);
}
