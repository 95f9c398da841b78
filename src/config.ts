import { z } from "zod";
import type { ScopeMap } from "./auth/scope-map.ts";
import { ACCOUNT_ID_RULE, isAccountId } from "./auth/scopes.ts";

import {
  bytes,
  duration,
  encryptionKeys,
  flag,
  host,
  httpUrl,
  integer,
  isProviderUrl,
  networks,
  origins,
  scopeMap,
} from "./config-values.ts";

import { DatabaseUrlError } from "./db/pool/connection-url.ts";
import { readServerAddress } from "./db/pool/server-address.ts";

import type { EncryptionKey } from "./sealing/keyring.ts";

/** The configuration has faults: one line for each, without the values, which can be secret. */
export class ConfigError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join("\n"));
    this.name = "ConfigError";
    this.faults = faults;
  }
}

/** Every variable that the gateway reads. */
const variables = z.object({
  PORT: integer(0, 65_535).default(4000),
  HOST: host.default("127.0.0.1"),
  DATABASE_URL: z.string().optional(),
  DATABASE_POOL_SIZE: integer(1, 1000).default(10),
  DATABASE_PREPARE: flag.default(true),
  DATABASE_QUEUE_LIMIT: integer(1, 1_000_000).default(2000),
  STATEMENT_TIMEOUT: duration.default(5000),
  REQUEST_TIMEOUT: duration.default(10_000),
  DATA_DIR: z.string().default(".data"),
  ENCRYPTION_KEYS: encryptionKeys.optional(),
  ENCRYPTION_KEYS_FILE: z.string().optional(),
  CORS_ORIGINS: origins.default([]),
  TRUSTED_PROXIES: networks.default([]),
  DOCS: flag.default(true),
  GRAPHIQL: flag.default(true),
  INTROSPECTION: flag.default(true),
  LOG_LEVEL: z
    .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"], {
      error: "must be one of trace, debug, info, warn, error, fatal, silent",
    })
    .default("info"),
  LOG_BUFFER_LIMIT: bytes.default(4 * 1024 * 1024),
  BODY_LIMIT: bytes.default(100 * 1024),
  UPLOAD_MEMORY_LIMIT: bytes.default(64 * 1024 * 1024),
  UNSENT_MEMORY_LIMIT: bytes.default(64 * 1024 * 1024),
  RECEIVE_TIMEOUT: duration.default(30_000),
  SEND_TIMEOUT: duration.default(30_000),
  KEEP_ALIVE_TIMEOUT: duration.default(72_000),
  MAX_CONNECTIONS: integer(1, 1_000_000).default(10_000),
  MAX_CONCURRENT_REQUESTS: integer(1, 1_000_000).default(1000),
  MAX_EVENT_LOOP_DELAY: duration.default(500),
  RATE_LIMIT: integer(0, 100_000_000).default(0),
  QUERY_COST_LIMIT: integer(1, 1_000_000).default(10_000),
  QUERY_DEPTH_LIMIT: integer(1, 100).default(20),
  QUERY_ALIAS_LIMIT: integer(0, 10_000).default(100),
  QUERY_DIRECTIVE_LIMIT: integer(0, 10_000).default(100),
  QUERY_TOKEN_LIMIT: integer(1, 100_000).default(10_000),
  AUDIT_READS: flag.default(false),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  JWT_JWKS_URL: z
    .string()
    .refine(isProviderUrl, "must be an https URL, or http on a loopback host")
    .optional(),
  JWT_TYP: z
    .string()
    .regex(/^[\w.+-]+(\/[\w.+-]+)?$/, "must be a media type such as at+jwt")
    .optional(),
  JWT_ACCOUNT: z
    .string()
    .refine(isAccountId, `must be the name of an account. ${ACCOUNT_ID_RULE}`)
    .optional(),
  JWT_ACCOUNT_CLAIM: z.string().default("account"),
  JWT_SCOPE_CLAIM: z.string().default("scope"),
  JWT_SCOPE_MAP: scopeMap.default(new Map()),
  PERSISTED_OPERATIONS: z.string().optional(),
  PERSISTED_OPERATIONS_MODE: z
    .enum(["off", "allow", "only"], "must be one of off, allow, only")
    .default("allow"),
  OTEL_EXPORTER_OTLP_ENDPOINT: httpUrl.optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: httpUrl.optional(),
  OTEL_EXPORTER_OTLP_PROTOCOL: z.string().optional(),
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: z.string().optional(),
  OTEL_TRACES_EXPORTER: z.string().default("otlp"),
  OTEL_SDK_DISABLED: z.string().default("false"),
});

/** The names of every variable that the gateway reads. */
export const VARIABLES: readonly string[] = Object.keys(variables.shape);

/** The memory that a request's headers and buffers need at most, besides its body. Bytes. */
const SPARE_FOR_HEADERS = 64 * 1024;
/** Smaller, and ordinary answers could not be sent. Bytes. */
const MIN_UNSENT_MEMORY = 1024 * 1024;

/** These make a sign-in together, or there is none. */
const JWT_VARIABLES = ["JWT_ISSUER", "JWT_AUDIENCE", "JWT_JWKS_URL"] as const;

/** How JWTs of the company's own identity provider are taken. */
export interface JwtConfig {
  /** What `iss` must be. */
  issuer: string;
  /** What `aud` must be, or hold. */
  audience: string;
  /** What `typ` must be, in any case and with or without `application/`; undefined: anything. */
  typ?: string | undefined;
  /** Where the provider's public keys are. */
  jwksUrl: string;
  /** The account that every token opens; undefined: a claim says which. */
  account: string | undefined;
  /** The claim with the account, and the one with the scopes: a name, or names with dots between. */
  accountClaim: string;
  scopeClaim: string;
  /** What the provider's own words in that claim mean. */
  scopeMap: ScopeMap;
}

/** How requests name documents instead of sending their texts. */
export interface PersistedOperationsConfig {
  /** Off: they can't. Allow: they can, and may register texts under their hashes. Only: they must. */
  mode: "off" | "allow" | "only";
  /** The path of the file with the documents. */
  manifest: string | undefined;
}

/** Where spans go: the OpenTelemetry SDK reads the rest of its settings itself. */
export interface TracingConfig {
  protocol: "http/json" | "http/protobuf";
}

/** Everything that can be set, read once at the start. */
export interface Config {
  port: number;
  host: string;
  /** Undefined: the embedded database under `dataDir`. */
  databaseUrl: string | undefined;
  databasePoolSize: number;
  databasePrepare: boolean;
  /** Statements and transactions that may be under way or wait for a connection. */
  databaseQueueLimit: number;
  /** Milliseconds. */
  statementTimeout: number;
  /** From the end of a request's body to its answer. Milliseconds. */
  requestTimeout: number;
  dataDir: string;
  /** Newest first; undefined: those of a file. */
  encryptionKeys: EncryptionKey[] | undefined;
  /** The path of the file; undefined: the one in `dataDir`. */
  encryptionKeysFile?: string | undefined;
  corsOrigins: string[];
  /** Addresses and networks of the proxies whose `X-Forwarded-For` is trusted. */
  trustedProxies: string[];
  /** Whether `/`, `/docs` and `/openapi.json` are there. */
  docs: boolean;
  graphiql: boolean;
  introspection: boolean;
  logLevel: string;
  /** Of lines that stdout does not take. Bytes. */
  logBufferLimit: number;
  /** Bytes. */
  bodyLimit: number;
  /** Of all requests that are still arriving, wait for their turn, or are in progress with a body. Bytes. */
  uploadMemoryLimit: number;
  /** Of all answers that clients have not taken yet. Bytes. */
  unsentMemoryLimit: number;
  /** How long a client may take to send a request. Milliseconds. */
  receiveTimeout: number;
  /** How long a client may take no part of an answer. Milliseconds. */
  sendTimeout: number;
  /** How long a connection may be idle between two requests. Milliseconds. */
  keepAliveTimeout: number;
  maxConnections: number;
  maxConcurrentRequests: number;
  /** The mean delay of the event loop from which on requests are refused. Milliseconds. */
  maxEventLoopDelay: number;
  /** Requests a minute of one token; 0: any number. */
  rateLimit: number;
  queryLimits: QueryLimits;
  /** Whether answers that show document numbers are in the audit trail, too. */
  auditReads: boolean;
  /** Undefined: only tokens of the gateway's own open anything. */
  jwt: JwtConfig | undefined;
  persistedOperations: PersistedOperationsConfig;
  /** Undefined: nothing is traced. */
  tracing: TracingConfig | undefined;
}

/** What a GraphQL document may be like. */
export interface QueryLimits {
  /** Of an operation: about one for each value that it can answer with. */
  cost: number;
  /** Of an operation: fields inside one another. */
  depth: number;
  aliases: number;
  directives: number;
  tokens: number;
}

/**
 * The configuration that these variables make. One that is empty counts as not set. Fails with a ConfigError that
 * lists every fault.
 */
export function parseConfig(env: Record<string, string | undefined>): Config {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
  const { data, error } = variables.safeParse(set);
  const faults = (error?.issues ?? []).map((issue) => `${issue.path.join(".")} ${issue.message}`);
  faults.push(...findLacks(set, JWT_VARIABLES));
  if (set.PERSISTED_OPERATIONS_MODE === "only" && set.PERSISTED_OPERATIONS === undefined) {
    faults.push("PERSISTED_OPERATIONS must be set where PERSISTED_OPERATIONS_MODE is only");
  }
  if (data && data.UPLOAD_MEMORY_LIMIT < data.BODY_LIMIT + SPARE_FOR_HEADERS) {
    faults.push("UPLOAD_MEMORY_LIMIT must be at least 64 KiB above BODY_LIMIT");
  }
  if (data && data.UNSENT_MEMORY_LIMIT < MIN_UNSENT_MEMORY) {
    faults.push("UNSENT_MEMORY_LIMIT must be at least 1 MiB");
  }
  if (set.ENCRYPTION_KEYS !== undefined && set.ENCRYPTION_KEYS_FILE !== undefined) {
    faults.push("ENCRYPTION_KEYS_FILE must not be set if ENCRYPTION_KEYS is");
  }
  if (set.DATABASE_URL !== undefined) faults.push(...findUrlFaults(set.DATABASE_URL, set));
  if (!data || faults.length > 0) throw new ConfigError(faults);
  return {
    port: data.PORT,
    host: data.HOST,
    databaseUrl: data.DATABASE_URL,
    databasePoolSize: data.DATABASE_POOL_SIZE,
    databasePrepare: data.DATABASE_PREPARE,
    databaseQueueLimit: data.DATABASE_QUEUE_LIMIT,
    statementTimeout: data.STATEMENT_TIMEOUT,
    requestTimeout: data.REQUEST_TIMEOUT,
    dataDir: data.DATA_DIR,
    encryptionKeys: data.ENCRYPTION_KEYS,
    encryptionKeysFile: data.ENCRYPTION_KEYS_FILE,
    corsOrigins: data.CORS_ORIGINS,
    trustedProxies: data.TRUSTED_PROXIES,
    docs: data.DOCS,
    // What is typed there would be refused.
    graphiql: data.GRAPHIQL && data.PERSISTED_OPERATIONS_MODE !== "only",
    introspection: data.INTROSPECTION,
    logLevel: data.LOG_LEVEL,
    logBufferLimit: data.LOG_BUFFER_LIMIT,
    bodyLimit: data.BODY_LIMIT,
    uploadMemoryLimit: data.UPLOAD_MEMORY_LIMIT,
    unsentMemoryLimit: data.UNSENT_MEMORY_LIMIT,
    receiveTimeout: data.RECEIVE_TIMEOUT,
    sendTimeout: data.SEND_TIMEOUT,
    keepAliveTimeout: data.KEEP_ALIVE_TIMEOUT,
    maxConnections: data.MAX_CONNECTIONS,
    maxConcurrentRequests: data.MAX_CONCURRENT_REQUESTS,
    maxEventLoopDelay: data.MAX_EVENT_LOOP_DELAY,
    rateLimit: data.RATE_LIMIT,
    queryLimits: {
      cost: data.QUERY_COST_LIMIT,
      depth: data.QUERY_DEPTH_LIMIT,
      aliases: data.QUERY_ALIAS_LIMIT,
      directives: data.QUERY_DIRECTIVE_LIMIT,
      tokens: data.QUERY_TOKEN_LIMIT,
    },
    auditReads: data.AUDIT_READS,
    jwt: readJwt(data),
    persistedOperations: { mode: data.PERSISTED_OPERATIONS_MODE, manifest: data.PERSISTED_OPERATIONS },
    tracing: readTracing(data),
  };
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

function findLacks(set: Record<string, unknown>, together: readonly string[]): string[] {
  const given = together.filter((name) => set[name] !== undefined);
  if (given.length === 0) return [];
  const lacking = together.filter((name) => set[name] === undefined);
  return lacking.map((name) => `${name} must be set where ${given.join(" or ")} is`);
}

function readJwt(data: z.infer<typeof variables>): JwtConfig | undefined {
  const { JWT_ISSUER: issuer, JWT_AUDIENCE: audience, JWT_JWKS_URL: jwksUrl } = data;
  if (issuer === undefined || audience === undefined || jwksUrl === undefined) return undefined;
  const { JWT_ACCOUNT: account, JWT_ACCOUNT_CLAIM: accountClaim } = data;
  const { JWT_SCOPE_CLAIM: scopeClaim, JWT_SCOPE_MAP: scopeMap, JWT_TYP: typ } = data;
  return { issuer, audience, typ, jwksUrl, account, accountClaim, scopeClaim, scopeMap };
}

/** Values that OpenTelemetry does not know are ignored, as its specification asks: they are often set for a whole platform. */
function readTracing(data: z.infer<typeof variables>): TracingConfig | undefined {
  const isAnywhere = data.OTEL_EXPORTER_OTLP_ENDPOINT ?? data.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT;
  const isOff = data.OTEL_SDK_DISABLED.toLowerCase() === "true" || data.OTEL_TRACES_EXPORTER === "none";
  if (isAnywhere === undefined || isOff) return undefined;
  const protocol = data.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL ?? data.OTEL_EXPORTER_OTLP_PROTOCOL;
  return { protocol: protocol === "http/protobuf" ? protocol : "http/json" };
}
