import { type JwtConfig, jwtSettings, NEEDED_FOR_JWT, toJwtConfig } from "../auth/settings.ts";
import { changesSettings } from "../changes/settings.ts";
import { DatabaseUrlError } from "../db/pool/connection-url.ts";
import { readServerAddress } from "../db/pool/server-address.ts";
import { databaseSettings } from "../db/settings.ts";
import { graphqlSettings } from "../graphql/settings.ts";
import { lifecycleSettings } from "../kyc/lifecycle/settings.ts";
import { ledgerSettings } from "../ledger/settings.ts";
import { ConfigError, readSettings, type ValuesOf, variablesOf } from "../lib/settings.ts";
import { sealingSettings } from "../sealing/settings.ts";
import { webhookSettings } from "../webhooks/settings.ts";
import { serverSettings } from "./server-settings.ts";
import { type TracingConfig, toTracingConfig, tracingSettings } from "./tracing-settings.ts";

/** Everything that can be set. A setting is added to the table of the module that reads it, and nowhere else. */
const settings = {
  ...serverSettings,
  ...databaseSettings,
  ...sealingSettings,
  ...graphqlSettings,
  ...changesSettings,
  ...ledgerSettings,
  ...webhookSettings,
  ...lifecycleSettings,
  jwt: jwtSettings,
  tracing: tracingSettings,
};
type Settings = ValuesOf<typeof settings>;

/** The names of every variable that the gateway reads. */
export const VARIABLES: readonly string[] = variablesOf(settings);

/** Everything that can be set, read once at the start. */
export interface Config extends Omit<Settings, "jwt" | "tracing"> {
  /** Undefined: only the gateway's own tokens are accepted. */
  jwt: JwtConfig | undefined;
  /** Undefined: nothing is traced. */
  tracing: TracingConfig | undefined;
}

/** The memory that a request's headers and buffers need at most, in addition to its body. */
const SPARE_FOR_HEADERS_BYTES = 64 * 1024;
/** Below this, ordinary answers could not be sent. */
const MIN_UNSENT_MEMORY_BYTES = 1024 * 1024;

/**
 * The configuration from these variables. An empty variable counts as not set. Fails with a ConfigError that lists every
 * fault.
 */
export function parseConfig(env: Record<string, string | undefined>): Config {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
  const { values, faults } = readSettings(settings, set);
  faults.push(...findContradictions(set, values));
  if (set.DATABASE_URL !== undefined) faults.push(...findUrlFaults(set.DATABASE_URL, set));
  if (!values || faults.length > 0) throw new ConfigError(faults);
  return {
    ...values,
    // Every query typed there would be refused.
    graphiql: values.graphiql && values.persistedOperations.mode !== "only",
    jwt: toJwtConfig(values.jwt),
    tracing: toTracingConfig(values.tracing),
  };
}

/** Faults of settings that contradict one another. */
function findContradictions(set: Record<string, string | undefined>, values: Settings | undefined): string[] {
  const faults = findLacks(
    set,
    NEEDED_FOR_JWT.map((name) => jwtSettings[name].variable),
  );
  if (set.PERSISTED_OPERATIONS_MODE === "only" && set.PERSISTED_OPERATIONS === undefined) {
    faults.push("PERSISTED_OPERATIONS must be set where PERSISTED_OPERATIONS_MODE is only");
  }
  if (values && values.uploadMemoryLimit < values.bodyLimit + SPARE_FOR_HEADERS_BYTES) {
    faults.push("UPLOAD_MEMORY_LIMIT must be at least 64 KiB above BODY_LIMIT");
  }
  if (values && values.unsentMemoryLimit < MIN_UNSENT_MEMORY_BYTES) {
    faults.push("UNSENT_MEMORY_LIMIT must be at least 1 MiB");
  }
  if (values?.retentionEnforced && !values.retention) {
    faults.push("RETENTION must be set if RETENTION_ENFORCED is true");
  }
  if (set.ENCRYPTION_KEYS !== undefined && set.ENCRYPTION_KEYS_FILE !== undefined) {
    faults.push("ENCRYPTION_KEYS_FILE must not be set if ENCRYPTION_KEYS is");
  }
  return faults;
}

function findLacks(set: Record<string, unknown>, together: readonly string[]): string[] {
  const given = together.filter((name) => set[name] !== undefined);
  if (given.length === 0) return [];
  const lacking = together.filter((name) => set[name] === undefined);
  return lacking.map((name) => `${name} must be set where ${given.join(" or ")} is`);
}

function findUrlFaults(url: string, env: Record<string, string | undefined>): string[] {
  try {
    readServerAddress(url, env);
    return [];
  } catch (error) {
    if (error instanceof DatabaseUrlError) return [`DATABASE_URL ${error.message}`];
    throw error;
  }
}
