import type { Logger } from "pino";
import type { DigestCustomer } from "../audit/customer-digest.ts";
import type { Authenticate } from "../auth/authenticate.ts";
import type { OpenEventLogs } from "../changes/event-logs.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../db/client.ts";
import type { Metrics, ProcessMetrics } from "../metrics.ts";
import type { Keyring } from "../sealing/keyring.ts";
import type { Tracing } from "./tracing.ts";

/** The parts of a server that only answers probes about its process. */
export interface ProbeParts {
  config: Pick<Config, "bodyLimit" | "trustedProxies" | "unsentMemoryLimit" | "uploadMemoryLimit"> &
    Pick<Config, "keepAliveTimeout" | "maxConnections" | "receiveTimeout" | "sendTimeout">;
  db: Database;
  log: Logger;
  metrics: ProcessMetrics;
  /** Undefined: nothing is traced. */
  tracing?: Tracing | undefined;
  /** Whether the process can do its work. */
  isReady: () => Promise<boolean>;
  /** Whether the process is stopping. */
  isDraining: () => boolean;
  /** Whether the server accepts no new connections any more. */
  isClosed: () => boolean;
}

/** The parts of the server. The caller passes everything in; nothing is read from the environment. */
export interface AppParts extends ProbeParts {
  config: ProbeParts["config"] &
    Pick<Config, "auditLogName" | "auditReads" | "corsOrigins" | "graphiql" | "introspection"> &
    Pick<
      Config,
      | "databaseUrl"
      | "docs"
      | "maxExports"
      | "queryLimits"
      | "rateLimit"
      | "webhookAllowPrivate"
      | "retention"
      | "retentionEnforced"
    > &
    Pick<Config, "maxConcurrentRequests" | "maxEventLoopDelay" | "requestTimeout" | "persistedOperations">;
  keys: Keyring;
  logs: OpenEventLogs;
  digestCustomer: DigestCustomer;
  authenticate: Authenticate;
  metrics: Metrics;
  /** The token that GraphiQL and `/docs` get for a page key; null: none. */
  devToken: string | null;
  /** Epoch milliseconds. */
  now: () => number;
}
