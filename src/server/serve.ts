import { setFlagsFromString } from "node:v8";
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { byGateway } from "../administration/record-act.ts";
import { openCustomerDigests } from "../audit/customer-digest.ts";
import { createAuthenticator } from "../auth/authenticate.ts";
import type { VerifyJwt } from "../auth/jwt.ts";
import { openSignInNames } from "../auth/sign-in-name.ts";
import { openEventLogs } from "../changes/event-logs.ts";
import type { Config } from "../config/config.ts";
import type { TracingConfig } from "../config/tracing-settings.ts";
import type { Database } from "../db/client.ts";
import { openDataDir } from "../db/embedded/data-dir.ts";
import { hasDatabase } from "../db/embedded/embedded.ts";
import { migrate } from "../db/migrating/migrate.ts";
import { isMigrated } from "../db/migrating/pending.ts";
import { openDatabase } from "../db/open.ts";
import type { OpenDatabase } from "../db/open-server.ts";
import { isWritable } from "../db/writable.ts";
import { createLog, openOutput } from "../log.ts";
import { createMetrics, type Metrics } from "../metrics.ts";
import { SEALED_PLACES } from "../sealed-places.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { openKeyring, requireKeySource } from "../sealing/open-keyring.ts";
import { readVersion } from "../version.ts";
import { startBackground } from "./background.ts";
import { isLoopbackHost, openDevToken } from "./development-token.ts";
import { acceptMore } from "./load/acceptors.ts";
import { openFilesLimit, roomForConnections } from "./load/open-files.ts";
import { prepareDrain } from "./shutdown.ts";
import { closeInTime, type Stop, StoppedAtStart, unlessStopped } from "./stop-signal.ts";
import type { Tracing } from "./tracing.ts";
import { toUrl, welcome } from "./welcome.ts";

/**
 * By default the heap grows to three times its live data before it is collected: growth by 40 % keeps a loaded gateway
 * below 160 MB, and costs some per cent of its rate. And if the first requests come all at once, V8 concludes that objects
 * made for a request live long, and allocates them in its old space from then on: that would cost a third of the rate.
 */
const V8_FLAGS = ["--heap-growing-percent=40", "--no-allocation-site-pretenuring"];

/** Prints lines for the person who starts the gateway. Fails if nobody can read them. */
type Say = (...lines: string[]) => Promise<void>;

/**
 * Runs the gateway until `stop`, then resolves with the exit code 0. If `stop` resolves before it listens, the process
 * ends with 0. Fails if the database can't be opened, the address can't be listened on, or nobody can read the lines
 * that a start prints; nothing stays open then.
 */
export async function serve(config: Config, say: Say, stop: Stop): Promise<number> {
  for (const flag of V8_FLAGS) setFlagsFromString(flag);
  let droppedLines = 0;
  const output = await openOutput(config.logBufferLimit, (lines) => {
    droppedLines += lines;
  });
  const log = createLog(config.logLevel, output);
  requireKeySource(config);
  const files = openFilesLimit();
  const maxConnections = roomForConnections(config, files);
  if (maxConnections < config.maxConnections) {
    log.warn(
      { openFiles: files, maxConnections },
      "MAX_CONNECTIONS is lowered: the limit of open files (ulimit -n) leaves room for no more",
    );
  }
  if (config.databaseUrl === undefined && !hasDatabase(config.dataDir)) {
    await say(`Making a database in ${openDataDir(config.dataDir)}, which takes some seconds …`);
  }
  const opening = openDatabase(config, (message) => log.warn(message));
  // Meanwhile, because reading and compiling it takes a third of a start. If it fails, so does the import that waits for it.
  import("./app.ts").catch(() => {});
  try {
    const database = await unlessStopped(stop, opening);
    const tracing = config.tracing && (await openTracing(config.tracing, log));
    try {
      const metrics = createMetrics({ usage: () => database.db.usage(), droppedLines: () => droppedLines });
      return await run({ ...config, maxConnections }, database, { log, metrics, tracing, say, stop });
    } finally {
      // At the same time: each can wait for a server that does not answer.
      await Promise.all([closeInTime(database.close()), tracing?.close()]);
    }
  } catch (error) {
    if (!(error instanceof StoppedAtStart)) throw error;
    log.info({ signal: error.signal }, "stopped before it listened");
    // A migration that waits for others would keep the process alive. PostgreSQL rolls it back, and the next start repeats it.
    process.exit(0);
  }
}

/** Starts everything in order, serves until `stop`, and stops everything in the reverse order. */
async function run(
  config: Config,
  { db, target }: OpenDatabase,
  {
    log,
    metrics,
    tracing,
    say,
    stop,
  }: { log: Logger; metrics: Metrics; tracing: Tracing | undefined; say: Say; stop: Stop },
): Promise<number> {
  const state = { draining: false, closed: false };
  await unlessStopped(stop, migrate(target));
  const keys = await unlessStopped(
    stop,
    openKeyring(config, db, SEALED_PLACES, (message) => log.warn(message), byGateway()),
  );
  for (const message of describeUnreached(keys)) log.warn(message);
  // Some time passes until the next line: a reader of one line, as `head -1`, has gone by then.
  await say(`KYC gateway ${readVersion()} is starting …`);
  const digestCustomer = await openCustomerDigests(db, keys);
  const stopBackground = startBackground({ config, db, digestCustomer, keys, log, metrics });
  const logs = openEventLogs(db, config, log);
  if (tracing) metrics.watchSpans(() => tracing.counts);
  let app: FastifyInstance | undefined;
  try {
    const { token, hint } = await unlessStopped(stop, openDevToken(config, db, keys));
    const devToken = isLoopbackHost(config.host) ? token : null;
    const authenticate = createAuthenticator(
      db,
      keys,
      Date.now,
      await jwtVerifier(config, db, keys, log),
      metrics.countForged,
    );
    const { createApp } = await import("./app.ts");
    app = await createApp({
      ...{ config, devToken, db, keys, logs, digestCustomer, authenticate, log, metrics, tracing },
      now: Date.now,
      isReady: async () => (await isWritable(db.urgent)) && (await isMigrated(db.urgent)),
      isDraining: () => state.draining,
      isClosed: () => state.closed,
    });
    const drain = prepareDrain(app);
    // With Node's default of 511, the system drops further connections, and their clients wait for their retries.
    await app.listen({ port: config.port, host: config.host, backlog: config.maxConnections });
    await say(...welcome(baseUrl(app, config.host), config, { hint, devToken }));
    const acceptors = acceptMore(app.server, config.maxConnections);
    const signal = await stop;
    state.draining = true;
    log.info({ signal }, "stopping");
    let closedLogs: Promise<void> | undefined;
    const drained = drain(acceptors, () => {
      state.closed = true;
      // Not earlier: clients reconnect at once, and would reach this process again.
      closedLogs = logs.close();
    });
    await Promise.all([drained, stopBackground()]);
    await closedLogs;
    if (!(await drained)) log.warn("requests that did not end in time were cut");
    log.info("stopped");
    return 0;
  } catch (error) {
    // A start that is stopped ends the process at once, whatever the database does.
    if (!(error instanceof StoppedAtStart)) await Promise.all([app?.close(), logs.close(), stopBackground()]);
    throw error;
  }
}

/** Messages about what the database of an earlier release still accepts, and until when. */
function describeUnreached({ reached }: Keyring): string[] {
  const lines: string[] = [];
  if (!reached.has("numbers_sealed")) {
    lines.push("plain document numbers of an earlier release are accepted until they are encrypted");
  }
  if (!reached.has("numbers_bound")) {
    lines.push(
      "document numbers are not bound to versions of their records: run `keys rotate` once no replica of an earlier release runs",
    );
  }
  return lines;
}

async function jwtVerifier(
  { jwt }: Config,
  db: Database,
  keys: Keyring,
  log: Logger,
): Promise<VerifyJwt | undefined> {
  if (!jwt) return undefined;
  // Loaded only if it is needed, because loading it makes a start slower.
  const { createJwtVerifier } = await import("../auth/jwt.ts");
  const onFailure = (err: unknown) => log.warn({ err }, "the identity provider's keys could not be fetched");
  const nameSignIn = await openSignInNames(db, keys);
  return createJwtVerifier(jwt, { nameSignIn, now: Date.now, onFailure });
}

/** How often the log may say that spans are not exported. Milliseconds. */
const LOG_AGAIN_MS = 60_000;

async function openTracing(config: TracingConfig, log: Logger): Promise<Tracing> {
  // Loaded only if it is needed: a gateway without a collector does not run any of its code.
  const { startTracing } = await import("./opentelemetry.ts");
  let saidAt = Number.NEGATIVE_INFINITY;
  return startTracing(config, {
    version: readVersion(),
    onWarning: (message) => log.warn(message),
    onFailure: (err) => {
      if (performance.now() - saidAt < LOG_AGAIN_MS) return;
      saidAt = performance.now();
      log.warn({ err }, "spans could not be exported");
    },
  });
}

function baseUrl(app: FastifyInstance, host: string): string {
  const address = app.server.address();
  return toUrl(host, typeof address === "object" && address ? address.port : 0);
}
