import { Counter, collectDefaultMetrics, Registry } from "prom-client";
import { addDatabase, type DatabaseMetrics } from "./database-metrics.ts";
import type { PoolUsage } from "./db/client.ts";
import { addHttp, type HttpMetrics, REQUEST_BUCKETS } from "./http-metrics.ts";
import { Histogram } from "./lib/histogram.ts";
import { addBuild, addState, type BuildMetrics, type StateMetrics } from "./state-metrics.ts";
import { addStreams, type StreamMetrics } from "./stream-metrics.ts";
import { readVersion } from "./version.ts";
import { addWebhooks, type WebhookMetrics } from "./webhook-metrics.ts";

/** The figures of every process that delivers webhooks, in Prometheus' form. */
export interface ProcessMetrics extends BuildMetrics, DatabaseMetrics, HttpMetrics, WebhookMetrics {
  contentType: string;
  render(): Promise<string>;
}

/** The gateway's figures. Labels come from closed sets: never an id, a name or a value. */
export interface Metrics extends ProcessMetrics, StateMetrics, StreamMetrics {
  /** Counts document numbers that an answer needed and that can't be decrypted. */
  countUnreadable(numbers: number): void;
  /** Counts one answered GraphQL request, in addition to `observeRequest`. */
  observeOperation(operation: string, outcome: string, seconds: number): void;
  /** Counts a token whose row somebody has written without the gateway's keys. */
  countForged(): void;
}

/** The sources that are read when the metrics are read. */
export interface Sources {
  /** The state of the database's connections. */
  usage(): PoolUsage;
  /** Lines of the log that were lost so far. */
  droppedLines(): number;
}

/** The metrics of a process that delivers webhooks and serves only probes. */
export function createProcessMetrics(sources: Sources): ProcessMetrics {
  return addProcess(new Registry(), sources);
}

/** The metrics of a gateway. */
export function createMetrics(sources: Sources): Metrics {
  const registry = new Registry();
  const ofProcess = addProcess(registry, sources);
  const unreadable = new Counter({
    name: "document_numbers_unreadable_total",
    help: "Document numbers that answers needed and that can't be decrypted; the log names their records.",
    registers: [registry],
  });
  const operations = new Histogram(registry, {
    name: "graphql_operation_duration_seconds",
    help: "The same of GraphQL requests: by the trusted document's name or by the field, and by the error's code.",
    labelNames: ["operation", "outcome"],
    buckets: REQUEST_BUCKETS,
  });
  const forged = new Counter({
    name: "tokens_forged_total",
    help: "Tokens that were refused because somebody has added or altered them in the database.",
    registers: [registry],
  });
  return {
    ...{ ...ofProcess, ...addState(registry), ...addStreams(registry) },
    countForged: () => forged.inc(),
    countUnreadable: (numbers) => unreadable.inc(numbers),
    observeOperation: (operation, outcome, seconds) => operations.observe(seconds, operation, outcome),
  };
}

function addProcess(registry: Registry, { usage, droppedLines }: Sources): ProcessMetrics {
  collectDefaultMetrics({ register: registry });
  // Despite their names, these sums are not counters. The same figures exist by type.
  for (const name of ["handles", "resources", "requests"])
    registry.removeSingleMetric(`nodejs_active_${name}_total`);
  new Counter({
    name: "log_lines_dropped_total",
    help: "Lines of the log that were lost because stdout did not accept them.",
    registers: [registry],
    collect() {
      this.reset();
      this.inc(droppedLines());
    },
  });
  return {
    ...{ ...addBuild(registry, readVersion()), ...addDatabase(registry, usage) },
    ...{ ...addHttp(registry, usage), ...addWebhooks(registry) },
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
}
