import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { addDatabase, type DatabaseMetrics } from "./database-metrics.ts";
import type { PoolUsage } from "./db/client.ts";
import { Histogram } from "./lib/histogram.ts";
import { addState, type StateMetrics } from "./state-metrics.ts";
import { addStreams, type StreamMetrics } from "./stream-metrics.ts";
import { readVersion } from "./version.ts";
import { addWebhooks, type WebhookMetrics } from "./webhook-metrics.ts";

/** The gateway's figures, in Prometheus' form. Labels come from closed sets: never an id, a name or a value. */
export interface Metrics extends DatabaseMetrics, StateMetrics, StreamMetrics, WebhookMetrics {
  /** Counts a request that was refused, or given up, to bound the load. */
  countShed(reason: ShedReason): void;
  /** Counts a connection that was cut to bound the memory that clients take. */
  countCut(reason: CutReason): void;
  /** Sets the source of the figures of that memory. */
  watchMemory(read: () => Record<CutReason, number>): void;
  /** Counts a request beyond the rate limit: of its token, or of its address. */
  countLimited(by: "token" | "address"): void;
  /** Counts document numbers that an answer needed and that can't be decrypted. */
  countUnreadable(numbers: number): void;
  /** Counts one answered request. `route` is a pattern, not a path. */
  observeRequest(method: string, route: string, status: number, seconds: number): void;
  /** Counts one answered GraphQL request, besides. */
  observeOperation(operation: string, outcome: string, seconds: number): void;
  /** Counts a request that was answered with this code, of the closed lists of errors. */
  countFailure(route: string, code: string): void;
  /** Counts a token whose row somebody has written without the gateway's keys. */
  countForged(): void;
  contentType: string;
  render(): Promise<string>;
}

/** More requests than may be in progress, a busy event loop, no answer in time, or too many bytes of uploads. */
type ShedReason = "requests" | "event_loop" | "late" | "uploads";
/** Requests that are still arriving or wait, or answers that were not taken. */
type CutReason = "uploads" | "unsent";

/** Upper bounds. Seconds. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The sources that are read when the metrics are read. */
export interface Sources {
  /** The state of the database's connections. */
  usage(): PoolUsage;
  /** Lines of the log that were lost so far. */
  droppedLines(): number;
}

/** The metrics of a gateway. */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: one list of metrics, each with its help.
export function createMetrics({ usage, droppedLines }: Sources): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  // Sums that are not counters, whatever their names say: the same figures are there by type.
  for (const name of ["handles", "resources", "requests"])
    registry.removeSingleMetric(`nodejs_active_${name}_total`);
  const database = addDatabase(registry, usage);
  new Counter({
    name: "log_lines_dropped_total",
    help: "Lines of the log that were lost because nobody took what was written before them.",
    registers: [registry],
    collect() {
      this.reset();
      this.inc(droppedLines());
    },
  });
  const shed = { requests: 0, event_loop: 0, late: 0, uploads: 0 };
  new Counter({
    name: "http_requests_shed_total",
    help: "Requests that got 503 to bound the load, by what there was too much of; under queue: statements.",
    labelNames: ["reason"],
    registers: [registry],
    collect() {
      setAll(this, "reason", { ...shed, queue: usage().refused });
    },
  });
  const memory = addMemory(registry);
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
  const unreadable = new Counter({
    name: "document_numbers_unreadable_total",
    help: "Document numbers that answers needed and that can't be decrypted; the log names their records.",
    registers: [registry],
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
  const failures = new Counter({
    name: "http_request_errors_total",
    help: "Requests that were answered with an error, by its code; of GraphQL, the first one.",
    labelNames: ["route", "code"],
    registers: [registry],
  });
  const forged = new Counter({
    name: "tokens_forged_total",
    help: "Tokens that were refused because somebody has added or altered them in the database.",
    registers: [registry],
  });
  return {
    ...{ ...memory, ...database, ...addState(registry, readVersion()), ...addStreams(registry) },
    ...addWebhooks(registry),
    countFailure: (route, code) => failures.inc({ route, code }),
    countForged: () => forged.inc(),
    countShed: (reason) => {
      shed[reason] += 1;
    },
    countLimited: (by) => {
      limited[by] += 1;
    },
    countUnreadable: (numbers) => unreadable.inc(numbers),
    observeRequest: (method, route, status, seconds) =>
      requests.observe(seconds, method, route, String(status)),
    observeOperation: (operation, outcome, seconds) => operations.observe(seconds, operation, outcome),
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
}

/** Adds the figures of the memory that clients take. */
function addMemory(registry: Registry): Pick<Metrics, "countCut" | "watchMemory"> {
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
    help: "Bytes of answers that clients have not taken yet.",
    registers: [registry],
    collect() {
      this.set(read().unsent);
    },
  });
  const cut = { uploads: 0, unsent: 0 };
  new Counter({
    name: "http_connections_cut_total",
    help: "Connections that were cut because all together took too much memory, by what of.",
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
