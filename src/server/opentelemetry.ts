import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import {
  type Attributes,
  type Context,
  DiagLogLevel,
  diag,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  TraceFlags,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { ExportResultCode, setGlobalErrorHandler, W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtobufExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from "@opentelemetry/resources";
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from "@opentelemetry/sdk-trace-base";
import type { TracingConfig } from "../config/tracing-settings.ts";
import type { EndedStatement } from "../db/client.ts";
import { kindOf } from "../db/statement-kind.ts";
import { labelOfMethod, OTHER_METHOD } from "../http-metrics.ts";
import { currentScope, type RequestSpan } from "../lib/span-scope.ts";
import type { SpanCounts } from "../state-metrics.ts";
import type { TracedAnswer, Tracing } from "./tracing.ts";

/** How long the end of the gateway waits for the collector. Milliseconds. */
const LAST_EXPORT_MS = 2000;

interface Reports {
  version: string;
  /** About the settings, at the start. */
  onWarning(message: string): void;
  /** An export has failed. */
  onFailure(error: unknown): void;
}

/**
 * Sends spans to an OTLP collector as configured by the `OTEL_…` variables, which the SDK reads itself. Nothing waits for the
 * collector: spans wait in a queue of bounded length, and are lost if it is full.
 */
export function startTracing(
  { protocol }: TracingConfig,
  { version, onWarning, onFailure }: Reports,
): Tracing {
  const warn = (...parts: unknown[]) => onWarning(parts.filter((part) => typeof part === "string").join(" "));
  const silent = () => {};
  const logger = { error: warn, warn, info: silent, debug: silent, verbose: silent };
  diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  setGlobalErrorHandler(onFailure);
  const counts: SpanCounts = { ended: 0, exported: 0, failed: 0 };
  const exporter = protocol === "http/protobuf" ? new ProtobufExporter() : new JsonExporter();
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(
        resourceFromAttributes({
          "service.name": "kyc-gateway",
          "service.version": version,
          "service.instance.id": randomUUID(),
        }),
      )
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(counting(exporter, counts))],
  });
  // Later messages of the SDK are about exports. The counts and `onFailure` report those without the collector's text.
  diag.disable();
  return new OpenTelemetry(provider, counts);
}

/** An exporter that counts the exported and the failed spans. */
function counting(exporter: SpanExporter, counts: SpanCounts): SpanExporter {
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        counts[result.code === ExportResultCode.SUCCESS ? "exported" : "failed"] += spans.length;
        done(result);
      }),
    forceFlush: async () => exporter.forceFlush?.(),
    shutdown: () => exporter.shutdown(),
  };
}

const GETTER: TextMapGetter<IncomingHttpHeaders> = {
  keys: () => ["traceparent", "tracestate"],
  get: (headers, name) => headers[name],
};

/** Failures that are the gateway's or the database's, whatever the status says. */
const OWN_FAILURES = new Set(["INTERNAL", "UNAVAILABLE"]);

class OpenTelemetrySpan implements RequestSpan {
  readonly span: Span;
  /** The parent of the spans of its statements. */
  readonly context: Context;
  readonly traceId: string;
  readonly isSampled: boolean;
  readonly #wallClock: number;
  readonly #startedAt: number;

  constructor(tracer: Tracer, remote: Context) {
    this.#wallClock = Date.now();
    this.#startedAt = performance.now();
    this.span = tracer.startSpan("HTTP", { kind: SpanKind.SERVER, startTime: this.#wallClock }, remote);
    this.context = trace.setSpan(remote, this.span);
    const { traceId, traceFlags } = this.span.spanContext();
    this.traceId = traceId;
    this.isSampled = (traceFlags & TraceFlags.SAMPLED) !== 0;
  }

  /** Converts a time of `performance.now()` to epoch milliseconds, so that a request's spans nest exactly. */
  epochOf(millis: number): number {
    return this.#wallClock + millis - this.#startedAt;
  }
}

class OpenTelemetry implements Tracing {
  readonly counts: SpanCounts;
  readonly #provider: BasicTracerProvider;
  readonly #tracer: Tracer;
  readonly #propagator = new W3CTraceContextPropagator();

  constructor(provider: BasicTracerProvider, counts: SpanCounts) {
    this.#provider = provider;
    this.#tracer = provider.getTracer("kyc-gateway");
    this.counts = counts;
  }

  begin(headers: IncomingHttpHeaders): RequestSpan {
    return new OpenTelemetrySpan(this.#tracer, this.#propagator.extract(ROOT_CONTEXT, headers, GETTER));
  }

  end(request: RequestSpan, answered: TracedAnswer): void {
    if (!request.isSampled || !(request instanceof OpenTelemetrySpan)) return;
    const { span } = request;
    const { route, status, failure, operation } = answered;
    const method = labelOfMethod(answered.method);
    const isRouted = route !== "unmatched";
    span.updateName([method === OTHER_METHOD ? "HTTP" : method, ...(isRouted ? [route] : [])].join(" "));
    span.setAttributes({
      "http.request.method": method,
      "http.response.status_code": status,
      "url.scheme": "http",
      "kyc.request_id": answered.requestId,
      ...(isRouted && { "http.route": route }),
      ...(operation !== undefined && { "graphql.operation.name": operation }),
      ...errorType(failure ?? (status >= 400 ? String(status) : undefined)),
    });
    if (status >= 500 || (failure !== undefined && OWN_FAILURES.has(failure)))
      span.setStatus({ code: SpanStatusCode.ERROR });
    this.counts.ended += 1;
    span.end(request.epochOf(performance.now()));
  }

  statementEnded({ text, startedAt, endedAt, failure }: EndedStatement): void {
    const scope = currentScope();
    if (!scope?.owner.isSampled || !(scope.owner instanceof OpenTelemetrySpan)) return;
    const { owner, others } = scope;
    const { operation, table } = kindOf(text);
    const name = table === undefined ? operation : `${operation} ${table}`;
    const code = (failure as { code?: unknown } | undefined)?.code;
    const span = this.#tracer.startSpan(
      name,
      {
        kind: SpanKind.CLIENT,
        startTime: owner.epochOf(startedAt),
        attributes: {
          "db.system.name": "postgresql",
          "db.operation.name": operation,
          "db.query.summary": name,
          "db.query.text": text,
          ...(table !== undefined && { "db.collection.name": table }),
          ...(failure !== undefined && errorType(typeof code === "string" ? code : "_OTHER")),
        },
        links: others.flatMap((other) =>
          other instanceof OpenTelemetrySpan ? [{ context: other.span.spanContext() }] : [],
        ),
      },
      owner.context,
    );
    if (failure !== undefined) span.setStatus({ code: SpanStatusCode.ERROR });
    this.counts.ended += 1;
    span.end(owner.epochOf(endedAt));
  }

  async close(): Promise<void> {
    const closed = this.#provider.shutdown().catch(() => {});
    await Promise.race([closed, wait(LAST_EXPORT_MS, undefined, { ref: false })]);
  }
}

function errorType(code: string | undefined): Attributes {
  return code === undefined ? {} : { "error.type": code };
}
