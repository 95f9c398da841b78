import { z } from "zod";
import { duration, flag, integer } from "../lib/setting-values.ts";
import { setting, type ValuesOf } from "../lib/settings.ts";

export const databaseSettings = {
  /** Undefined: the embedded database under `dataDir`. */
  databaseUrl: setting("DATABASE_URL", z.string().optional()),
  databasePoolSize: setting("DATABASE_POOL_SIZE", integer(1, 1000).default(10)),
  databasePrepare: setting("DATABASE_PREPARE", flag.default(true)),
  /** Statements and transactions that may be in progress or wait for a connection. */
  databaseQueueLimit: setting("DATABASE_QUEUE_LIMIT", integer(1, 1_000_000).default(2000)),
  /** Milliseconds. */
  statementTimeout: setting("STATEMENT_TIMEOUT", duration.default(5000)),
  dataDir: setting("DATA_DIR", z.string().default(".data")),
};
export type DatabaseConfig = ValuesOf<typeof databaseSettings>;
