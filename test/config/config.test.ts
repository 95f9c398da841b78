import { expect, test } from "vitest";
import { parseConfig } from "../../src/config/config.ts";
import { ConfigError } from "../../src/lib/settings.ts";

const SECRETS = [1, 2].map((fill) => Buffer.alloc(32, fill).toString("base64")) as [string, string];

function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    parseConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

test("nothing has to be set, and what is empty counts as not set", () => {
  const defaults = parseConfig({});
  expect(defaults).toEqual({
    port: 4000,
    host: "127.0.0.1",
    databaseUrl: undefined,
    databasePoolSize: 10,
    databasePrepare: true,
    dataDir: ".data",
    encryptionKeys: undefined,
    corsOrigins: [],
    trustedProxies: [],
    docs: true,
    graphiql: true,
    introspection: true,
    logLevel: "info",
    logBufferLimit: 4 * 1024 * 1024,
    bodyLimit: 102_400,
    auditReads: false,
    auditCheckpointInterval: 600_000,
    webhooks: true,
    expiryNotices: [2_592_000, 604_800],
    retention: null,
    retentionEnforced: false,
    webhookAllowPrivate: [],
    databaseQueueLimit: 2000,
    statementTimeout: 5000,
    requestTimeout: 10_000,
    uploadMemoryLimit: 64 * 1024 * 1024,
    unsentMemoryLimit: 64 * 1024 * 1024,
    receiveTimeout: 30_000,
    sendTimeout: 30_000,
    keepAliveTimeout: 72_000,
    maxConnections: 10_000,
    maxConcurrentRequests: 1000,
    maxSubscribers: 5000,
    maxAccountSubscribers: 2000,
    maxExports: 20,
    maxEventLoopDelay: 500,
    rateLimit: 0,
    queryLimits: { cost: 10_000, depth: 20, aliases: 100, directives: 100, tokens: 10_000 },
    jwt: undefined,
    persistedOperations: { mode: "allow", manifest: undefined },
  });
  expect(parseConfig({ PORT: "", DATABASE_URL: "", GRAPHIQL: "", CORS_ORIGINS: "" })).toEqual(defaults);
});

test("every variable is read", () => {
  expect(
    parseConfig({
      PORT: "0",
      HOST: "0.0.0.0",
      DATABASE_URL: "postgresql://u:p@h:5433/n",
      DATABASE_POOL_SIZE: "3",
      DATABASE_PREPARE: "false",
      DATA_DIR: "/var/lib/kyc",
      CORS_ORIGINS: "https://a.example, http://localhost:3000",
      TRUSTED_PROXIES: "10.0.0.0/8, ::1",
      DOCS: "0",
      GRAPHIQL: "off",
      INTROSPECTION: "0",
      LOG_LEVEL: "warn",
      LOG_BUFFER_LIMIT: "1 MiB",
      BODY_LIMIT: "1 MiB",
      DATABASE_QUEUE_LIMIT: "10",
      STATEMENT_TIMEOUT: "700",
      REQUEST_TIMEOUT: "2 s",
      UPLOAD_MEMORY_LIMIT: "8 MiB",
      UNSENT_MEMORY_LIMIT: "9 MiB",
      RECEIVE_TIMEOUT: "1 min",
      SEND_TIMEOUT: "5 s",
      KEEP_ALIVE_TIMEOUT: "5s",
      MAX_CONNECTIONS: "11",
      MAX_CONCURRENT_REQUESTS: "12",
      MAX_SUBSCRIBERS: "14",
      MAX_SUBSCRIBERS_PER_ACCOUNT: "15",
      MAX_EXPORTS: "3",
      MAX_EVENT_LOOP_DELAY: "30 ms",
      RATE_LIMIT: "13",
      QUERY_COST_LIMIT: "500",
      QUERY_DEPTH_LIMIT: "5",
      QUERY_ALIAS_LIMIT: "0",
      QUERY_DIRECTIVE_LIMIT: "6",
      QUERY_TOKEN_LIMIT: "7",
      ENCRYPTION_KEYS: `2026:${SECRETS[0]}, old_one-1:${SECRETS[1]}`,
      AUDIT_READS: "on",
      AUDIT_LOG_NAME: "kyc.example.com/eu",
      AUDIT_CHECKPOINT_INTERVAL: "1 min",
      AUDIT_CHECKPOINT_FILE: "/var/log/kyc-checkpoints",
      WEBHOOKS: "off",
      EXPIRY_NOTICE: "12h, 90 days,1d",
      RETENTION: "18 months",
      RETENTION_ENFORCED: "on",
      WEBHOOK_ALLOW_PRIVATE: "10.1.0.0/16, ::1",
      JWT_ISSUER: "https://id.example/",
      JWT_AUDIENCE: "kyc",
      JWT_JWKS_URL: "https://id.example/keys",
      JWT_ACCOUNT: "acme",
      JWT_ACCOUNT_CLAIM: "https://acme.example/account",
      JWT_SCOPE_CLAIM: "realm.roles",
      JWT_SCOPE_MAP: "kyc-admin=kyc:read  kyc:write, https://api.example/kyc:read=kyc:read",
      PERSISTED_OPERATIONS: "manifest.json",
      PERSISTED_OPERATIONS_MODE: "off",
    }),
  ).toEqual({
    port: 0,
    host: "0.0.0.0",
    databaseUrl: "postgresql://u:p@h:5433/n",
    databasePoolSize: 3,
    databasePrepare: false,
    dataDir: "/var/lib/kyc",
    encryptionKeys: [
      { id: "2026", secret: Buffer.alloc(32, 1) },
      { id: "old_one-1", secret: Buffer.alloc(32, 2) },
    ],
    corsOrigins: ["https://a.example", "http://localhost:3000"],
    trustedProxies: ["10.0.0.0/8", "::1"],
    docs: false,
    graphiql: false,
    introspection: false,
    logLevel: "warn",
    logBufferLimit: 1024 * 1024,
    bodyLimit: 1_048_576,
    auditReads: true,
    auditLogName: "kyc.example.com/eu",
    auditCheckpointInterval: 60_000,
    auditCheckpointFile: "/var/log/kyc-checkpoints",
    webhooks: false,
    expiryNotices: [7_776_000, 86_400, 43_200],
    retention: "18 months",
    retentionEnforced: true,
    webhookAllowPrivate: ["10.1.0.0/16", "::1"],
    databaseQueueLimit: 10,
    statementTimeout: 700,
    requestTimeout: 2000,
    uploadMemoryLimit: 8 * 1024 * 1024,
    unsentMemoryLimit: 9 * 1024 * 1024,
    receiveTimeout: 60_000,
    sendTimeout: 5000,
    keepAliveTimeout: 5000,
    maxConnections: 11,
    maxConcurrentRequests: 12,
    maxSubscribers: 14,
    maxAccountSubscribers: 15,
    maxExports: 3,
    maxEventLoopDelay: 30,
    rateLimit: 13,
    queryLimits: { cost: 500, depth: 5, aliases: 0, directives: 6, tokens: 7 },
    jwt: {
      issuer: "https://id.example/",
      audience: "kyc",
      jwksUrl: "https://id.example/keys",
      account: "acme",
      accountClaim: "https://acme.example/account",
      scopeClaim: "realm.roles",
      scopeMap: new Map([
        ["kyc-admin", ["kyc:read", "kyc:write"]],
        ["https://api.example/kyc:read", ["kyc:read"]],
      ]),
    },
    persistedOperations: { mode: "off", manifest: "manifest.json" },
  });
});

test("every fault is reported at once, in a line that starts with the variable and repeats no value", () => {
  const env = {
    PORT: "65536",
    DATABASE_URL: "mysql://root:hunter2@h/n",
    DATABASE_POOL_SIZE: "0",
    DATABASE_PREPARE: "maybe",
    CORS_ORIGINS: "https://a.example/path",
    GRAPHIQL: "2",
    INTROSPECTION: "no way",
    LOG_LEVEL: "loud",
    LOG_BUFFER_LIMIT: "much",
    BODY_LIMIT: "-5",
    DATABASE_QUEUE_LIMIT: "0",
    STATEMENT_TIMEOUT: "0",
    REQUEST_TIMEOUT: "2 h",
    UPLOAD_MEMORY_LIMIT: "lots",
    UNSENT_MEMORY_LIMIT: "0",
    RECEIVE_TIMEOUT: "soon",
    SEND_TIMEOUT: "never",
    KEEP_ALIVE_TIMEOUT: "61 min",
    MAX_CONNECTIONS: "0",
    MAX_CONCURRENT_REQUESTS: "0",
    MAX_SUBSCRIBERS: "0",
    MAX_SUBSCRIBERS_PER_ACCOUNT: "few",
    MAX_EXPORTS: "0",
    MAX_EVENT_LOOP_DELAY: "-1",
    RATE_LIMIT: "10/min",
    EXPIRY_NOTICE: "30d,soon",
    RETENTION: "5",
    RETENTION_ENFORCED: "maybe",
    QUERY_COST_LIMIT: "0",
    QUERY_DEPTH_LIMIT: "0",
    QUERY_ALIAS_LIMIT: "many",
    QUERY_DIRECTIVE_LIMIT: "many",
    QUERY_TOKEN_LIMIT: "0",
    ENCRYPTION_KEYS: "hunter2:hunter2",
    PERSISTED_OPERATIONS_MODE: "some",
  };
  const faults = faultsOf(env);
  expect(faults.map((fault) => fault.split(" ")[0]).sort()).toEqual(Object.keys(env).sort());
  expect(faults.join()).not.toMatch(/hunter2|maybe|loud|no way/);
});

test("what clients may make the gateway hold must have room for one body, and for ordinary answers", () => {
  expect(faultsOf({ UPLOAD_MEMORY_LIMIT: "1 MiB", BODY_LIMIT: "1 MiB" })).toEqual([
    "UPLOAD_MEMORY_LIMIT must be at least 64 KiB above BODY_LIMIT",
  ]);
  expect(faultsOf({ UNSENT_MEMORY_LIMIT: "1000 KiB" })).toEqual([
    "UNSENT_MEMORY_LIMIT must be at least 1 MiB",
  ]);
});

test("if only trusted documents are run there must be some, and there is no GraphiQL", () => {
  expect(faultsOf({ PERSISTED_OPERATIONS_MODE: "only" })).toHaveLength(1);
  const only = { PERSISTED_OPERATIONS_MODE: "only", PERSISTED_OPERATIONS: "m.json", GRAPHIQL: "true" };
  expect(parseConfig(only).graphiql).toBe(false);
});

test("a sign-in that is set in part lacks the rest", () => {
  expect(faultsOf({ JWT_ISSUER: "https://id.example", JWT_AUDIENCE: "kyc", PORT: "x" })).toEqual([
    expect.stringMatching(/^PORT /),
    "JWT_JWKS_URL must be set where JWT_ISSUER or JWT_AUDIENCE is",
  ]);
  expect(faultsOf({ JWT_JWKS_URL: "https://id.example/keys" })).toHaveLength(2);
});

test("each entry of a scope map that makes no sense is a fault of its own, and names no word", () => {
  const map = "a=kyc:read,secret,secret=kyc:fly kyc:read,=kyc:read,b=,a=kyc:write,c=kyc:pii";
  const faults = faultsOf({ JWT_SCOPE_MAP: map });
  const start = "JWT_SCOPE_MAP has a fault in its entry";
  expect(faults).toEqual([
    `${start} 2: an entry is word=scope, or word=scope scope`,
    `${start} 3: the scopes are kyc:read, kyc:write, kyc:delete, kyc:pii, audit:read, kyc:hold, webhooks:manage`,
    `${start} 4: an entry is word=scope, or word=scope scope`,
    `${start} 5: an entry is word=scope, or word=scope scope`,
    `${start} 6: its word is that of another one`,
  ]);
});

test("an account for every sign-in must be one that there can be", () => {
  expect(faultsOf({ JWT_TYP: "at jwt" })).toEqual([expect.stringMatching(/^JWT_TYP .*at\+jwt/)]);
  expect(faultsOf({ JWT_ACCOUNT: "ac me" })).toEqual([expect.stringMatching(/^JWT_ACCOUNT .*1 to 64/)]);
});

test.each([
  ["https://id.example/keys", 0],
  ["http://localhost:8080/keys", 0],
  ["http://127.0.0.1:8080/keys", 0],
  ["http://[::1]/keys", 0],
  ["http://id.example/keys", 1],
  ["http://127.0.0.1.evil.example/keys", 1],
  ["https://user:pass@id.example/keys", 1],
  ["ftp://localhost/keys", 1],
  ["keys", 1],
])("keys may come from %s: %i faults", (url, faults) => {
  expect(faultsOf({ JWT_ISSUER: "i", JWT_AUDIENCE: "a", JWT_JWKS_URL: url })).toHaveLength(faults);
});

test.each([
  ["PORT", "4e3"],
  ["PORT", " 80"],
  ["PORT", "-1"],
  ["BODY_LIMIT", "0"],
  ["BODY_LIMIT", "5 GiB"],
  ["CORS_ORIGINS", "*"],
  ["CORS_ORIGINS", "https://a.example,,"],
  ["ENCRYPTION_KEYS", SECRETS[0]],
  ["ENCRYPTION_KEYS", `a:b:${SECRETS[0]}`],
  ["ENCRYPTION_KEYS", `a.b:${SECRETS[0]}`],
  ["ENCRYPTION_KEYS", `${"a".repeat(33)}:${SECRETS[0]}`],
  ["ENCRYPTION_KEYS", "a:"],
  ["ENCRYPTION_KEYS", `a:${Buffer.alloc(32).toString("base64")}`],
  ["ENCRYPTION_KEYS", `a:${Buffer.alloc(31).toString("base64")}`],
  ["ENCRYPTION_KEYS", `a:${Buffer.alloc(33).toString("base64")}`],
  ["ENCRYPTION_KEYS", `a:${SECRETS[0]},a:${SECRETS[1]}`],
  ["ENCRYPTION_KEYS", `a:${SECRETS[0]},b:${SECRETS[0]}`],
  ["ENCRYPTION_KEYS", `a:${SECRETS[0]},`],
  ["DATABASE_URL", "localhost:5432"],
  ["DATABASE_URL", "postgres://u:p%zz@h/db"],
])("%s=%s makes no sense", (name, value) => {
  expect(faultsOf({ [name]: value })).toHaveLength(1);
});

test.each([
  ["postgres://u:s3cret@h/db?schema=kyc&pgbouncer=true", /schema, pgbouncer/],
  ["postgres://u:s3cret@h/db?statement_timeout=1", /statement_timeout/],
  ["postgres://u:s3cret@h/db?gssencmode=require", /gssencmode/],
  ["postgres://u:s3cret@h/db?target_session_attrs=standby", /target_session_attrs/],
  ["postgres://u:s3cret@h/db?sslmode=s3cret", /sslmode/],
  ["postgres://u:s3cret@h/db?connect_timeout=s3cret", /connect_timeout/],
  ["postgres://u:s3cret@h/db?s3cret", /parameter/],
  ["postgres://u:s3cret@h/db?sslmode=prefer&channel_binding=require", /channel_binding/],
  ["postgres://u:s3cret@h/db?service=s3cret", /service/],
  ["postgres://u:s3cret@h:99999/db", /port/],
  ["postgres://u:s3cret@h:1,g:2,i/db?port=1,2", /ports/],
  ["postgres://u:s3cret@[::1/db", /IPv6/],
  ["postgres://u:s3cret%@h/db", /password/],
  ["postgres://u:pass?s3cret@h/db", /%3F/],
  ["postgres://u:pass?s3cret=x@h/db", /%3F/],
  ["mysql://u:s3cret@h/db", /postgres:/],
])("the database URL %s is refused, and the fault names what is wrong and no secret", (url, named) => {
  const faults = faultsOf({ DATABASE_URL: url });
  expect(faults).toHaveLength(1);
  expect(faults[0]).toMatch(/^DATABASE_URL /);
  expect(faults[0]).toMatch(named);
  expect(faults[0]).not.toContain("s3cret");
});

test("variables of PostgreSQL that can't be honoured are named", () => {
  const url = "postgres://u@h/db";
  expect(faultsOf({ DATABASE_URL: url, PGREQUIREPEER: "x" })[0]).toContain("PGREQUIREPEER");
  expect(faultsOf({ DATABASE_URL: url, PGSSLMODE: "maybe" })[0]).toContain("PGSSLMODE");
  expect(faultsOf({ PGSSLMODE: "maybe" })).toEqual([]);
});

test.each([
  ["500", 500],
  ["500ms", 500],
  ["2.5 s", 2500],
  ["5m", 300_000],
  ["5 min", 300_000],
  ["5 minutes", 300_000],
  ["1h", 3_600_000],
])("the time %s is %i ms, in every variable that takes one", (text, millis) => {
  const names = [
    "STATEMENT_TIMEOUT",
    "REQUEST_TIMEOUT",
    "RECEIVE_TIMEOUT",
    "SEND_TIMEOUT",
    "KEEP_ALIVE_TIMEOUT",
  ];
  const config = parseConfig(
    Object.fromEntries([...names, "MAX_EVENT_LOOP_DELAY"].map((name) => [name, text])),
  );
  const {
    statementTimeout,
    requestTimeout,
    receiveTimeout,
    sendTimeout,
    keepAliveTimeout,
    maxEventLoopDelay,
  } = config;
  expect([statementTimeout, requestTimeout, receiveTimeout]).toEqual([millis, millis, millis]);
  expect([sendTimeout, keepAliveTimeout, maxEventLoopDelay]).toEqual([millis, millis, millis]);
});

test.each(["0", "0s", "2h", "61 min", "5 parsecs", "-5s", "five", "1e3", "5 m m", "0.0001ms"])(
  "%s is no time that a variable takes",
  (text) => {
    expect(faultsOf({ STATEMENT_TIMEOUT: text })).toHaveLength(1);
  },
);

test.each([
  ["[::1]", "::1"],
  ["[2001:db8::1]", "2001:db8::1"],
  ["::", "::"],
  ["localhost", "localhost"],
])("HOST=%s listens at %s", (text, host) => {
  expect(parseConfig({ HOST: text }).host).toBe(host);
});

test.each(["10.0.0.0/8,::1", "2001:db8::/32", " 127.0.0.1 "])("TRUSTED_PROXIES takes %j", (text) => {
  expect(parseConfig({ TRUSTED_PROXIES: text }).trustedProxies).toEqual(
    text.split(",").map((one) => one.trim()),
  );
});

test.each([
  "*",
  "true",
  "1",
  "0.0.0.0/0",
  "::/0",
  "10.0.0.0/33",
  "10.0.0.0/8/8",
  "10.0.0",
  "proxy.example",
  ",",
  "::1/129",
  "10.0.0.1/x",
])("TRUSTED_PROXIES does not take %j", (text) => {
  expect(faultsOf({ TRUSTED_PROXIES: text })).toEqual([
    expect.stringMatching(/^TRUSTED_PROXIES must be addresses/),
  ]);
});

test.each([
  ["off", []],
  ["OFF", []],
  ["45s", [45]],
  ["7d, 30d ,7 days", [2_592_000, 604_800]],
  ["3650d,2h", [315_360_000, 7200]],
])("EXPIRY_NOTICE=%s gives notices before the expiry, in seconds and the earliest first", (text, seconds) => {
  expect(parseConfig({ EXPIRY_NOTICE: text }).expiryNotices).toEqual(seconds);
});

test.each([
  "30",
  "0d",
  "-1d",
  "30d,",
  ",",
  "4000d",
  "500ms",
  "30d;7d",
  "off,7d",
  "1d,2d,3d,4d,5d,6d,7d,8d,9d,10d,11d",
])("EXPIRY_NOTICE does not take %j", (text) => {
  expect(faultsOf({ EXPIRY_NOTICE: text })).toEqual([expect.stringMatching(/^EXPIRY_NOTICE must /)]);
});

test.each([
  ["off", null],
  ["false", null],
  ["5 years", "5 years"],
  ["1 Year", "1 years"],
  [" 18months ", "18 months"],
  ["30 days", "30 days"],
  ["100 years", "100 years"],
])("RETENTION=%s is an interval of PostgreSQL", (text, retention) => {
  expect(parseConfig({ RETENTION: text }).retention).toBe(retention);
});

test.each([
  "0 days",
  "5",
  "-1 years",
  "101 years",
  "1.5 years",
  "5 minutes",
  "18 mon",
  "years",
  "5 years 2 days",
])("RETENTION does not take %j", (text) => {
  expect(faultsOf({ RETENTION: text })).toEqual([expect.stringMatching(/^RETENTION must be off, or /)]);
});

test.each([undefined, "off"])("retention of %j can't be enforced", (RETENTION) => {
  expect(faultsOf({ RETENTION, RETENTION_ENFORCED: "true" } as Record<string, string>)).toEqual([
    "RETENTION must be set if RETENTION_ENFORCED is true",
  ]);
});
