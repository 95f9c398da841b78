import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { PoolUsage } from "./db/client.ts";
import { Histogram } from "./histogram.ts";

/** The gateway's figures, in Prometheus' form. Labels come from closed sets: never an id, a name or a value. */
export interface Metrics {
  /** Counts a request that was refused, or given up, to bound the load. */
  countShed(reason: ShedReason): void;
  /** Counts a request beyond the rate limit: of its token, or of its address. */
  countLimited(by: "token" | "address"): void;
  /** Counts one answered request. `route` is a pattern, not a path. */
  observeRequest(method: string, route: string, status: number, seconds: number): void;
  /** Counts one answered GraphQL request, besides. */
  observeOperation(operation: string, outcome: string, seconds: number): void;
  contentType: string;
  render(): Promise<string>;
}

/** More requests than may be under way, a busy event loop, or no answer in time. */
type ShedReason = "requests" | "event_loop" | "late";

/** Upper bounds. Seconds. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What the metrics ask when they are read. */
export interface Sources {
  /** What the database's connections do. */
  usage(): PoolUsage;
  /** Lines of the log that were lost so far. */
  droppedLines(): number;
}

/** The metrics of a gateway. */
export function createMetrics({ usage, droppedLines }: Sources): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: "database_pool_connections",
    help: "Connections to the database: in use, idle, or given up because they did not answer in time.",
    labelNames: ["state"],
    registers: [registry],
    collect() {
      const { inUse, idle, retired } = usage();
      this.set({ state: "in_use" }, inUse);
      this.set({ state: "idle" }, idle);
      this.set({ state: "retired" }, retired);
    },
  });
  new Gauge({
    name: "database_pool_waiting",
    help: "Statements and transactions that wait behind others for the database.",
    registers: [registry],
    collect() {
      this.set(usage().waiting);
    },
  });
  new Counter({
    name: "log_lines_dropped_total",
    help: "Lines of the log that were lost because nobody took what was written before them.",
    registers: [registry],
    collect() {
      this.reset();
      this.inc(droppedLines());
    },
  });
  const shed = { requests: 0, event_loop: 0, late: 0 };
  new Counter({
    name: "http_requests_shed_total",
    help: "Requests that got 503 to bound the load, by what there was too much of; under queue: statements.",
    labelNames: ["reason"],
    registers: [registry],
    collect() {
      setAll(this, "reason", { ...shed, queue: usage().refused });
    },
  });
  const limited = { token: 0, address: 0 };
  new Counter({
    name: "http_requests_limited_total",
    help: "Requests that got 429, by what the limit is of.",
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
    buckets: BUCKETS,
  });
  const operations = new Histogram(registry, {
    name: "graphql_operation_duration_seconds",
    help: "The same of GraphQL requests: by the trusted document's name or by the field, and by the error's code.",
    labelNames: ["operation", "outcome"],
    buckets: BUCKETS,
  });
  return {
    countShed: (reason) => {
      shed[reason] += 1;
    },
    countLimited: (by) => {
      limited[by] += 1;
    },
    observeRequest: (method, route, status, seconds) =>
      requests.observe(seconds, method, route, String(status)),
    observeOperation: (operation, outcome, seconds) => operations.observe(seconds, operation, outcome),
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
}

/** Lets a counter have these figures, which are counted elsewhere. */
function setAll<Label extends string>(
  counter: Counter<Label>,
  label: Label,
  figures: Record<string, number>,
): void {
  counter.reset();
  for (const [value, figure] of Object.entries(figures))
    counter.inc({ [label]: value } as Record<Label, string>, figure);
}
