import { once } from "node:events";
import { connect as openSocket } from "node:net";
import { resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { AppError } from "../errors.ts";
import { openDataDir } from "./embedded/data-dir.ts";
import { openEmbedded, socketPathOf } from "./embedded/embedded.ts";
import { DataDirInUseError, findLockHolder } from "./embedded/folder-lock.ts";
import { startUpkeep } from "./embedded/upkeep.ts";
import { limitsOf, type OpenDatabase, type OpenSettings, openServer } from "./open-server.ts";
import { connect } from "./pool/pool.ts";

/** A process that runs beside a gateway finds none. */
export class NoGatewayError extends Error {
  override readonly name = "NoGatewayError";

  constructor(dataDir: string) {
    super(
      `no gateway has the embedded database in ${resolve(dataDir)} open, and this command does not open it itself. ` +
        "Start the gateway, or give this command the gateway's DATABASE_URL or DATA_DIR",
    );
  }
}

/** The embedded engine serves one connection at a time, so more of them would only wait. */
const EMBEDDED_POOL_SIZE = 2;
/** How long a process waits for another one that is just opening or closing the embedded database. */
const HANDOVER_TIMEOUT_MS = 30_000;
/** Interval of its attempts. */
const HANDOVER_RETRY_MS = 100;
/** How long a command that opened the embedded database waits at its end for others that joined. */
const GUESTS_TIMEOUT_MS = 10_000;

/**
 * Opens the configured database for a gateway. Fails with a DataDirInUseError if another process has the embedded
 * database open. First it waits for one that will soon be done: a command, or a gateway that accepts no connections,
 * because it is just opening or closing the database.
 */
export async function openDatabase(
  config: OpenSettings,
  onWarning: (message: string) => void,
): Promise<OpenDatabase> {
  if (config.databaseUrl !== undefined) return openServer(config.databaseUrl, config, onWarning);
  let isWaiting = false;
  return untilHandedOver(
    () => openAsHost(config, onWarning, { isGateway: true, guestsMs: 0 }),
    async (error) => {
      if (!(error instanceof DataDirInUseError)) return false;
      if (error.isGateway && (await acceptsConnections(config))) return false;
      if (!isWaiting)
        onWarning("Another process has the embedded database open for the moment: waiting for it");
      isWaiting = true;
      return true;
    },
  );
}

/** As `openDatabase`, for a command. If another process has the embedded database open, the command joins it. */
export async function borrowDatabase(
  config: OpenSettings,
  onWarning: (message: string) => void,
): Promise<OpenDatabase> {
  if (config.databaseUrl !== undefined) return openServer(config.databaseUrl, config, onWarning);
  return untilHandedOver(
    async () => {
      try {
        return await openAsHost(config, onWarning, { isGateway: false, guestsMs: GUESTS_TIMEOUT_MS });
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
 * the gateway could not open it then, and joins no command, which would wait for it. Fails with a NoGatewayError if no gateway
 * has it open, with UNAVAILABLE if that does not answer in time, and with a DataDirError if other users can access its folder.
 */
export async function joinDatabase(
  config: OpenSettings,
  onWarning: (message: string) => void,
): Promise<OpenDatabase> {
  if (config.databaseUrl !== undefined) return openServer(config.databaseUrl, config, onWarning);
  return untilHandedOver(
    async () => {
      // In a folder of another user, a socket could lead to anybody's server.
      openDataDir(config.dataDir);
      const holder = await findLockHolder(config.dataDir);
      if (!holder?.isGateway) throw new NoGatewayError(config.dataDir);
      return joinHost(config);
    },
    async (error) => error instanceof NoGatewayError || error instanceof AppError,
  );
}

/** Repeats an attempt while its failure `isPassing`, for at most half a minute. */
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
  config: OpenSettings,
  onWarning: (message: string) => void,
  { isGateway, guestsMs }: { isGateway: boolean; guestsMs: number },
): Promise<OpenDatabase> {
  const embedded = await openEmbedded(config.dataDir, { onWarning, isGateway });
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

/** Joins the process that has the embedded database open. Fails with UNAVAILABLE if it does not answer. */
async function joinHost(config: OpenSettings): Promise<OpenDatabase> {
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
async function acceptsConnections({ dataDir }: OpenSettings): Promise<boolean> {
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
