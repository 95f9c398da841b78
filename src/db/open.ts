import { once } from "node:events";
import { connect as openSocket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { AppError } from "../errors.ts";
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
/** How long a process waits for another one that is just opening or closing the embedded database. */
const HANDOVER_TIMEOUT_MS = 30_000;
/** Interval of its attempts. */
const HANDOVER_RETRY_MS = 100;
/** How long a command that opened the embedded database waits at its end for others that joined. */
const GUESTS_TIMEOUT_MS = 10_000;

interface Settings extends DatabaseConfig {
  /** Milliseconds. */
  requestTimeout: number;
}

/**
 * Opens the configured database for a gateway. Fails with a DataDirInUseError if another process has the embedded
 * database open; if it accepts no connections, because it is just opening or closing it, this waits for it first.
 */
export async function openDatabase(
  config: Settings,
  onWarning: (message: string) => void,
): Promise<OpenDatabase> {
  if (config.databaseUrl !== undefined) return connectTo(config.databaseUrl, config, onWarning);
  return untilHandedOver(
    () => openAsHost(config, onWarning, 0),
    async (error) => error instanceof DataDirInUseError && !(await acceptsConnections(config)),
  );
}

/** As `openDatabase`, for a command. If another process has the embedded database open, the command joins it. */
export async function borrowDatabase(
  config: Settings,
  onWarning: (message: string) => void,
): Promise<OpenDatabase> {
  if (config.databaseUrl !== undefined) return connectTo(config.databaseUrl, config, onWarning);
  return untilHandedOver(
    async () => {
      try {
        return await openAsHost(config, onWarning, GUESTS_TIMEOUT_MS);
      } catch (inUse) {
        if (!(inUse instanceof DataDirInUseError)) throw inUse;
        return await joinHost(config).catch(async (failure) => {
          throw (await acceptsConnections(config)) ? failure : inUse;
        });
      }
    },
    async (error) => error instanceof DataDirInUseError || error instanceof AppError,
  );
}

/**
 * As `openDatabase`, for a process that runs as long as a gateway. It never opens the embedded database itself, because
 * the gateway could not open it then. Fails with UNAVAILABLE if no other process has it open.
 */
export async function joinDatabase(
  config: Settings,
  onWarning: (message: string) => void,
): Promise<OpenDatabase> {
  if (config.databaseUrl !== undefined) return connectTo(config.databaseUrl, config, onWarning);
  return untilHandedOver(
    () => joinHost(config),
    async (error) => error instanceof AppError,
  );
}

/** Repeats an attempt while its failure `isPassing`, but not for longer than opening or closing the database takes. */
export async function untilHandedOver<T>(
  attempt: () => Promise<T>,
  isPassing: (failure: unknown) => Promise<boolean>,
): Promise<T> {
  const deadline = performance.now() + HANDOVER_TIMEOUT_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (failure) {
      if (performance.now() > deadline || !(await isPassing(failure))) throw failure;
      await wait(HANDOVER_RETRY_MS);
    }
  }
}

/** When it is closed, other processes that joined it get `guestsMs` milliseconds to finish. */
async function openAsHost(
  config: Settings,
  onWarning: (message: string) => void,
  guestsMs: number,
): Promise<OpenDatabase> {
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

/** Joins the process that has the embedded database open. Fails with UNAVAILABLE if it does not answer. */
async function joinHost(config: Settings): Promise<OpenDatabase> {
  // The host waits until this one connection ends, but at its own end it accepts no other.
  const address = { socketPath: socketPathOf(config.dataDir) };
  const db = connect({ ...limitsOf(config), address, poolSize: 1, prepare: true });
  try {
    await db.execute("select 1");
    return { db, target: { embedded: db }, isGuest: true, close: () => db.close() };
  } catch (error) {
    await db.close();
    throw error;
  }
}

/** Whether a process serves the embedded database: neither while it opens it nor once it closes it. */
async function acceptsConnections({ dataDir }: Settings): Promise<boolean> {
  const socket = openSocket(socketPathOf(dataDir));
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
