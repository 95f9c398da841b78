import { collectDefaultMetrics, Histogram, Registry } from "prom-client";

/** The gateway's figures, in Prometheus' form. Labels come from closed sets: never an id, a name or a value. */
export interface Metrics {
  /** Counts one answered request. `route` is a pattern, not a path. */
  observeRequest(labels: { method: string; route: string; status: number }, seconds: number): void;
  contentType: string;
  render(): Promise<string>;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: "http_request_duration_seconds",
    help: "Time from a request's headers to the end of its answer.",
    labelNames: ["method", "route", "status"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  return {
    observeRequest: (labels, seconds) => requests.observe(labels, seconds),
    contentType: registry.contentType,
    render: () => registry.metrics(),
  };
}
