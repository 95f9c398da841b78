import { setTimeout as wait } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import { createAuthenticator } from "../auth/authenticate.ts";
import { devTokenFile, ensureDevToken } from "../auth/dev-token.ts";
import type { VerifyJwt } from "../auth/jwt.ts";
import { openSignInNames } from "../auth/sign-in-name.ts";
import type { Config } from "../config.ts";
import type { Database } from "../db/client.ts";
import { openDataDir } from "../db/embedded/data-dir.ts";
import { hasDatabase } from "../db/embedded/embedded.ts";
import { migrate } from "../db/migrating/migrate.ts";
import { isMigrated } from "../db/migrating/pending.ts";
import { type OpenDatabase, openDatabase } from "../db/open.ts";
import { isWritable } from "../db/writable.ts";
import { startSweep } from "../idempotency/sweep.ts";
import { endPlainNumbers, sealPlainNumbers } from "../kyc/number/sealed-numbers.ts";
import { createLog, openOutput } from "../log.ts";
import { createMetrics, type Metrics } from "../metrics.ts";
import { SEALED_PLACES } from "../sealed-places.ts";
import { watchKeyFile } from "../sealing/key-watch.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { watchMilestones } from "../sealing/milestones.ts";
import { keyFileOf, openKeyring, requireKeySource } from "../sealing/open-keyring.ts";
import { registerNewestKey } from "../sealing/registry.ts";
import { countSeals } from "../sealing/seal-counts.ts";
import { readVersion } from "../version.ts";
import { createApp } from "./app.ts";
import { isLoopbackHost } from "./development-token.ts";
import { acceptMore } from "./load/acceptors.ts";
import { openFilesLimit, roomForConnections } from "./load/open-files.ts";
import { prepareDrain } from "./shutdown.ts";
import { closeInTime, type Stop, StoppedAtStart, unlessStopped } from "./stop-signal.ts";
import { type TokenHint, toUrl, welcome } from "./welcome.ts";

/**
 * Left to itself the heap grows to three times what lives in it before it is cleared: to grow by 40 % keeps a loaded
 * gateway below 160 MB, for some per cent of its rate. And where the first requests come all at once, V8 takes what is
 * made for a request to live long, and makes it in its old space ever after: that would cost a third of the rate.
 */
const V8_FLAGS = ["--heap-growing-percent=40", "--no-allocation-site-pretenuring"];
/** Milliseconds. */
const SEAL_AGAIN_AFTER = 10_000;

/** Tells whoever starts the gateway. Fails if that can't be read by anybody. */
type Say = (...lines: string[]) => Promise<void>;

/**
 * Runs the gateway until `stop`, then resolves with the exit code 0. If `stop` comes before it listens, the process
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
  try {
    const database = await unlessStopped(
      stop,
      openDatabase(config, (message) => log.warn(message)),
    );
    try {
      const metrics = createMetrics({ usage: () => database.db.usage(), droppedLines: () => droppedLines });
      return await run({ ...config, maxConnections }, database, { log, metrics, say, stop });
    } finally {
      await closeInTime(database.close());
    }
  } catch (error) {
    if (!(error instanceof StoppedAtStart)) throw error;
    log.info({ signal: error.signal }, "stopped before it listened");
    // A migration that waits for others would keep the process: PostgreSQL rolls it back, and the next start repeats it.
    process.exit(0);
  }
}

async function run(
  config: Config,
  { db, address }: OpenDatabase,
  { log, metrics, say, stop }: { log: Logger; metrics: Metrics; say: Say; stop: Stop },
): Promise<number> {
  let draining = false;
  let deaf = false;
  const ending = new AbortController();
  await unlessStopped(stop, migrate(address));
  const keys = await unlessStopped(
    stop,
    openKeyring(config, db, SEALED_PLACES, (message) => log.warn(message)),
  );
  for (const message of describeUnreached(keys)) log.warn(message);
  // It takes a moment until there is more to say: whoever wants a line alone, as `head -1` does, has gone by then.
  await say(`KYC gateway ${readVersion()} is starting …`);
  const unwatchKeys = config.encryptionKeys
    ? () => {}
    : watchKeyFile(keyFileOf(config), keys, {
        onNewest: (key) => {
          log.info({ key }, "a new encryption key is in use");
          // A start without this key is refused from now on, as after a start with it.
          registerNewestKey(db, Date.now(), async () => keys).catch((err) =>
            log.warn({ err }, "the new encryption key could not be registered"),
          );
        },
        onFailure: (err) => log.warn({ err }, "the key file could not be read again"),
      });
  const { token, hint } = await unlessStopped(stop, devToken(config, db, keys));
  const devTokenOfPages = isLoopbackHost(config.host) ? token : null;
  const app = await createApp({
    config,
    devToken: devTokenOfPages,
    db,
    keys,
    authenticate: createAuthenticator(db, keys, Date.now, await jwtVerifier(config, db, keys, log)),
    log,
    metrics,
    isReady: async () => (await isWritable(db.urgent)) && (await isMigrated(db.urgent)),
    isDraining: () => draining,
    isDeaf: () => deaf,
    now: Date.now,
  });
  const drain = prepareDrain(app);
  const sealing = sealWhatIsPlain(db, keys, log, ending.signal);
  const stopCounting = countSeals(db, keys, {
    onMany: (key, seals) =>
      log.warn({ key, seals }, "an encryption key has sealed half of what it may: change to a new one"),
    onFailure: (err) => log.warn({ err }, "what the encryption keys have sealed could not be counted"),
  });
  const stopMilestones = watchMilestones(db, keys, {
    onMissing: (milestone) =>
      log.error({ milestone }, "somebody has removed a milestone from the database: it still holds here"),
    onFailure: (err) => log.warn({ err }, "the milestones of the database could not be read"),
  });
  // Left to Node, what comes while 511 wait is dropped by the system, and hangs in its retries.
  await app.listen({ port: config.port, host: config.host, backlog: config.maxConnections });
  await say(...welcome(baseUrl(app, config.host), config, { hint, devToken: devTokenOfPages })).catch(
    async (error) => {
      ending.abort();
      unwatchKeys();
      await Promise.all([app.close(), sealing, stopMilestones(), stopCounting()]);
      throw error;
    },
  );
  const acceptors = acceptMore(app.server, config.maxConnections);
  const stopSweep = startSweep({ db, log });
  const signal = await stop;
  draining = true;
  ending.abort();
  unwatchKeys();
  log.info({ signal }, "stopping");
  const drained = drain(acceptors, () => {
    deaf = true;
  });
  // All at once: each can wait for a database that does not answer, and an operator's stop allows ten seconds in all.
  await Promise.all([drained, sealing, stopSweep(), stopMilestones(), stopCounting()]);
  if (!(await drained)) log.warn("requests that did not end in time were cut");
  log.info("stopped");
  return 0;
}

/** What the database of an earlier release still accepts, and until when, in words. */
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

/** Seals what an earlier release has left plain, while the gateway serves, however often that takes. */
async function sealWhatIsPlain(db: Database, keys: Keyring, log: Logger, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !keys.reached.has("numbers_sealed")) {
    try {
      const { resealed } = await sealPlainNumbers(db, keys, signal);
      if (resealed > 0) log.info({ sealed: resealed }, "plain document numbers were encrypted");
      if (signal.aborted || (await endPlainNumbers(db, keys, Date.now()))) return;
    } catch (err) {
      log.warn({ err }, "plain document numbers could not be encrypted yet");
    }
    await wait(SEAL_AGAIN_AFTER, undefined, { signal }).catch(() => {});
  }
}

async function jwtVerifier(
  { jwt }: Config,
  db: Database,
  keys: Keyring,
  log: Logger,
): Promise<VerifyJwt | undefined> {
  if (!jwt) return undefined;
  // Loaded only where it is needed: every start would pay for it.
  const { createJwtVerifier } = await import("../auth/jwt.ts");
  const onFailure = (err: unknown) => log.warn({ err }, "the identity provider's keys could not be fetched");
  const nameSignIn = await openSignInNames(db, keys);
  return createJwtVerifier(jwt, { nameSignIn, now: Date.now, onFailure });
}

/** The token for development where there is one, and what a start tells of tokens. */
async function devToken(
  config: Config,
  db: Database,
  keys: Keyring,
): Promise<{ token: string | null; hint: TokenHint }> {
  const command = `npx kyc-gateway token create --account demo --name first --scopes kyc:read,kyc:write,kyc:pii`;
  if (config.databaseUrl !== undefined) return { token: null, hint: { command } };
  const file = devTokenFile(config.dataDir);
  const token = await ensureDevToken(db, keys, file, Date.now());
  if (token === null) return { token, hint: { command } };
  return {
    token,
    hint: { header: `-H "Authorization: Bearer $(cat '${file.replaceAll("'", "'\\''")}')"` },
  };
}

function baseUrl(app: FastifyInstance, host: string): string {
  const address = app.server.address();
  return toUrl(host, typeof address === "object" && address ? address.port : 0);
}
