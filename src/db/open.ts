import { setTimeout as wait } from "node:timers/promises";
import type { Database } from "./client.ts";
import { DatabaseError } from "./database-error.ts";
import { openEmbedded, socketPathOf } from "./embedded/embedded.ts";
import { DataDirInUseError } from "./embedded/folder-lock.ts";
import { startUpkeep } from "./embedded/upkeep.ts";
import type { MigrationTarget } from "./migrating/migrate.ts";
import { connect } from "./pool/pool.ts";
import { FIND_COMPILING, FIND_DEVIATIONS } from "./pool/session.ts";
import type { DatabaseConfig } from "./settings.ts";

/** An open database. */
export interface OpenDatabase {
  db: Database;
  /** Whether another process runs the embedded engine, and this one joined it. */
  isGuest: boolean;
  /** The database as `migrate` takes it. */
  target: MigrationTarget;
  /** Closes the pool, and the embedded engine if this process runs it. */
  close(): Promise<void>;
}

/** The embedded engine serves one connection at a time, so more of them would only wait. */
const EMBEDDED_POOL_SIZE = 2;
/** How long a command waits for another process that is just opening or closing the embedded database. */
export const HANDOVER_TIMEOUT_MS = 30_000;
/** Interval of its attempts. */
export const HANDOVER_RETRY_MS = 100;
/** How long a command that opened the embedded database waits at its end for others that joined. */
const GUESTS_TIMEOUT_MS = 10_000;

interface Settings extends DatabaseConfig {
  /** Milliseconds. */
  requestTimeout: number;
}

/**
 * Opens the configured database for a gateway. Fails with a DataDirInUseError if another process has the embedded
 * database open. When it is closed, other processes that joined it get `guestsMs` milliseconds to finish.
 */
export async function openDatabase(
  config: Settings,
  onWarning: (message: string) => void,
  guestsMs = 0,
): Promise<OpenDatabase> {
  if (config.databaseUrl !== undefined) return connectTo(config.databaseUrl, config, onWarning);
  const embedded = await openEmbedded(config.dataDir, { onWarning });
  const address = { socketPath: embedded.socketPath };
  const db = connect({ ...limitsOf(config), address, poolSize: EMBEDDED_POOL_SIZE, prepare: true });
  const stopUpkeep = startUpkeep(db, onWarning);
  return {
    db,
    isGuest: false,
    target: { embedded: db },
    close: async () => {
      const stopped = stopUpkeep();
      await db.close();
      await stopped;
      await embedded.close(guestsMs);
    },
  };
}

/** As `openDatabase`, for a command. If a gateway has the embedded database open, the command joins it. */
export async function borrowDatabase(
  config: Settings,
  onWarning: (message: string) => void,
): Promise<OpenDatabase> {
  const deadline = performance.now() + HANDOVER_TIMEOUT_MS;
  for (;;) {
    try {
      return await openDatabase(config, onWarning, GUESTS_TIMEOUT_MS);
    } catch (error) {
      if (!(error instanceof DataDirInUseError)) throw error;
      const guest = await visit(socketPathOf(config.dataDir));
      if (guest) return guest;
      if (performance.now() > deadline) throw error;
      await wait(HANDOVER_RETRY_MS);
    }
  }
}

function limitsOf(config: Settings) {
  return {
    queueLimit: config.databaseQueueLimit,
    statementTimeout: config.statementTimeout,
    // After the request's time limit its client has an error, so its transaction need not commit.
    transactionTimeout: config.requestTimeout,
  };
}

async function connectTo(
  url: string,
  config: Settings,
  onWarning: (message: string) => void,
): Promise<OpenDatabase> {
  const address = { url };
  const options = {
    ...limitsOf(config),
    address,
    poolSize: config.databasePoolSize,
    prepare: config.databasePrepare,
  };
  const opened = (db: Database): OpenDatabase => ({
    ...{ db, target: address, isGuest: false, close: () => db.close() },
  });
  const direct = connect({ ...options, settings: "at the start", listens: true });
  const failure = await direct.execute("select 1").then(
    () => undefined,
    (error: unknown) => error,
  );
  // The next statement reports other failures.
  if (failure === undefined || !refusesSettings(failure)) return opened(direct);
  await direct.close();
  return opened(
    connect({ ...options, settings: await chooseSettingsBehindPooler(url, onWarning), listens: false }),
  );
}

/** The SQLSTATE with which a pooler refuses startup parameters that it does not support. */
const PROTOCOL_VIOLATION = "08P01";

/** Whether a connection failed because a pooler refuses settings at the start of a session. */
export function refusesSettings(error: unknown): boolean {
  const { cause } = error as { cause?: unknown };
  return cause instanceof DatabaseError && cause.code === PROTOCOL_VIOLATION;
}

const COMPILES =
  "The database compiles statements that look expensive (setting jit), and the pooler lets no session turn this off. " +
  "Once there are many events, each look for new ones takes seconds. ALTER ROLE … SET jit = off.";

/**
 * Decides how sessions get their settings if a pooler, which shares connections between clients, refuses settings at the
 * start of a session: each transaction sets them, unless the defaults are right.
 */
async function chooseSettingsBehindPooler(url: string, onWarning: (message: string) => void) {
  const pooled = connect({ address: { url }, poolSize: 1, prepare: false });
  try {
    const deviations = await pooled.execute<{ name: string }>(FIND_DEVIATIONS);
    if (deviations.length === 0) {
      const [session] = await pooled.execute<{ compiles: boolean }>(FIND_COMPILING);
      if (session?.compiles) onWarning(COMPILES);
      return undefined;
    }
    const names = deviations.map(({ name }) => name).join(", ");
    onWarning(
      `The database's role has settings that the gateway can't work with, and the pooler lets no session set its own: ${names}. ` +
        "Each statement sets them now, which makes it slower. ALTER ROLE … RESET them.",
    );
    return "in each transaction";
  } finally {
    await pooled.close();
  }
}

async function visit(socketPath: string): Promise<OpenDatabase | null> {
  // The host waits until this one connection ends, but at its own end it accepts no other.
  const db = connect({ address: { socketPath }, poolSize: 1, prepare: true });
  try {
    await db.execute("select 1");
    return { db, target: { embedded: db }, isGuest: true, close: () => db.close() };
  } catch {
    await db.close();
    return null;
  }
}
