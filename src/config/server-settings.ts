import { z } from "zod";
import { bytes, duration, flag, host, integer, networks, origins } from "../lib/setting-values.ts";
import { setting } from "../lib/settings.ts";

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

/** The settings of the HTTP server and the log. */
export const serverSettings = {
  port: setting("PORT", integer(0, 65_535).default(4000)),
  host: setting("HOST", host.default("127.0.0.1")),
  corsOrigins: setting("CORS_ORIGINS", origins.default([])),
  /** Addresses and networks of the proxies whose `X-Forwarded-For` is trusted. */
  trustedProxies: setting("TRUSTED_PROXIES", networks.default([])),
  /** Whether `/`, `/docs` and `/openapi.json` exist. */
  docs: setting("DOCS", flag.default(true)),
  logLevel: setting(
    "LOG_LEVEL",
    z.enum(LOG_LEVELS, { error: `must be one of ${LOG_LEVELS.join(", ")}` }).default("info"),
  ),
  /** For lines that stdout does not accept yet. Bytes. */
  logBufferLimit: setting("LOG_BUFFER_LIMIT", bytes.default(4 * 1024 * 1024)),
  /** Bytes. */
  bodyLimit: setting("BODY_LIMIT", bytes.default(100 * 1024)),
  /** For all requests that are still arriving, that wait, or that are in progress with a body. Bytes. */
  uploadMemoryLimit: setting("UPLOAD_MEMORY_LIMIT", bytes.default(64 * 1024 * 1024)),
  /** For all answers that clients have not read yet. Bytes. */
  unsentMemoryLimit: setting("UNSENT_MEMORY_LIMIT", bytes.default(64 * 1024 * 1024)),
  /** From the end of a request's body to its answer. Milliseconds. */
  requestTimeout: setting("REQUEST_TIMEOUT", duration.default(10_000)),
  /** How long a client may take to send a request. Milliseconds. */
  receiveTimeout: setting("RECEIVE_TIMEOUT", duration.default(30_000)),
  /** How long a client may read nothing of its answer. Milliseconds. */
  sendTimeout: setting("SEND_TIMEOUT", duration.default(30_000)),
  /** How long a connection may be idle between two requests. Milliseconds. */
  keepAliveTimeout: setting("KEEP_ALIVE_TIMEOUT", duration.default(72_000)),
  maxConnections: setting("MAX_CONNECTIONS", integer(1, 1_000_000).default(10_000)),
  maxConcurrentRequests: setting("MAX_CONCURRENT_REQUESTS", integer(1, 1_000_000).default(1000)),
  /** Exports that may run at once; one account may have a fifth of them. */
  maxExports: setting("MAX_EXPORTS", integer(1, 1000).default(20)),
  /** The mean delay of the event loop at which requests are refused. Milliseconds. */
  maxEventLoopDelay: setting("MAX_EVENT_LOOP_DELAY", duration.default(500)),
  /** Requests a minute of one token; 0: any number. */
  rateLimit: setting("RATE_LIMIT", integer(0, 100_000_000).default(0)),
  /** Whether the audit trail gets an event for each answer that shows document numbers. */
  auditReads: setting("AUDIT_READS", flag.default(false)),
};
