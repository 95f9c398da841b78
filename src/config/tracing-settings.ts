import { z } from "zod";
import { httpUrl } from "../lib/setting-values.ts";
import { setting, type ValuesOf } from "../lib/settings.ts";

/** The settings of OpenTelemetry that decide whether there are traces. Its SDK reads these and all others itself. */
export const tracingSettings = {
  endpoint: setting("OTEL_EXPORTER_OTLP_ENDPOINT", httpUrl.optional()),
  tracesEndpoint: setting("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", httpUrl.optional()),
  protocol: setting("OTEL_EXPORTER_OTLP_PROTOCOL", z.string().optional()),
  tracesProtocol: setting("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", z.string().optional()),
  exporter: setting("OTEL_TRACES_EXPORTER", z.string().default("otlp")),
  isDisabled: setting("OTEL_SDK_DISABLED", z.string().default("false")),
};

/** How spans are sent. */
export interface TracingConfig {
  protocol: "http/json" | "http/protobuf";
}

/**
 * Undefined if nothing is traced. Values that OpenTelemetry does not define are ignored, as its specification requires: they
 * are often set for all programs of a platform.
 */
export function toTracingConfig(values: ValuesOf<typeof tracingSettings>): TracingConfig | undefined {
  const isOff = values.isDisabled.toLowerCase() === "true" || values.exporter === "none";
  if (isOff || (values.endpoint ?? values.tracesEndpoint) === undefined) return undefined;
  const protocol = values.tracesProtocol ?? values.protocol;
  return { protocol: protocol === "http/protobuf" ? protocol : "http/json" };
}
