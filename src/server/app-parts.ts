import type { Logger } from "pino";
import type { DigestCustomer } from "../audit/customer-digest.ts";
import type { Authenticate } from "../auth/authenticate.ts";
import type { OpenEventLogs } from "../changes/event-logs.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../db/client.ts";
import type { Metrics } from "../metrics.ts";
import type { Keyring } from "../sealing/keyring.ts";
import type { Tracing } from "./tracing.ts";

/** The parts of the server. The caller passes everything in; nothing is read from the environment. */
export interface AppParts {
  config: Pick<
    Config,
    "auditLogName" | "auditReads" | "bodyLimit" | "corsOrigins" | "graphiql" | "introspection" | "queryLimits"
  > &
    Pick<
      Config,
      "databaseUrl" | "docs" | "trustedProxies" | "webhookAllowPrivate" | "retention" | "retentionEnforced"
    > &
    Pick<Config, "unsentMemoryLimit" | "uploadMemoryLimit"> &
    Pick<Config, "keepAliveTimeout" | "maxConnections" | "rateLimit" | "receiveTimeout" | "sendTimeout"> &
    Pick<Config, "maxExports"> &
    Pick<Config, "maxConcurrentRequests" | "maxEventLoopDelay" | "requestTimeout" | "persistedOperations">;
  db: Database;
  keys: Keyring;
  logs: OpenEventLogs;
  digestCustomer: DigestCustomer;
  authenticate: Authenticate;
  log: Logger;
  metrics: Metrics;
  /** Undefined: nothing is traced. */
  tracing?: Tracing | undefined;
  /** The token that GraphiQL and `/docs` get for a page key; null: none. */
  devToken: string | null;
  /** Whether the database is reachable and migrated. */
  isReady: () => Promise<boolean>;
  /** Whether the gateway is stopping. */
  isDraining: () => boolean;
  /** Whether the server accepts no new connections any more. */
  isClosed: () => boolean;
  /** Epoch milliseconds. */
  now: () => number;
}
