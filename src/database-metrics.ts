import { Gauge, type Registry } from "prom-client";
import type { EndedStatement, PoolUsage } from "./db/client.ts";
import { kindOf } from "./db/statement-kind.ts";
import { Histogram } from "./lib/histogram.ts";

/** Receives observations from the pool of connections. */
export interface DatabaseMetrics {
  observeStatement(statement: EndedStatement): void;
  /** `milliseconds` is how long a statement or transaction waited for its connection. */
  observeWait(milliseconds: number): void;
}

/** Upper bounds. Seconds. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** Adds the figures of the database's connections and statements. */
export function addDatabase(registry: Registry, usage: () => PoolUsage): DatabaseMetrics {
  new Gauge({
    name: "database_pool_connections",
    help: "Connections to the database: in use, idle, or replaced because they did not answer in time.",
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
  const waits = new Histogram(registry, {
    name: "database_pool_wait_seconds",
    help: "How long statements and transactions waited behind others for a connection.",
    labelNames: [],
    buckets: BUCKETS,
  });
  const statements = new Histogram(registry, {
    name: "database_statement_duration_seconds",
    help: "Time from when a statement has its connection to the end of its result, by what it does with which table.",
    labelNames: ["operation", "table", "outcome"],
    buckets: BUCKETS,
  });
  return {
    observeWait: (milliseconds) => waits.observe(milliseconds / 1000),
    observeStatement: ({ text, startedAt, endedAt, failure }) => {
      const { operation, table = "none" } = kindOf(text);
      const outcome = failure === undefined ? "ok" : "failed";
      statements.observe((endedAt - startedAt) / 1000, operation, table, outcome);
    },
  };
}
