import { once } from "node:events";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { FOLDER_MODE } from "../../lib/private-files.ts";
import { openDataDir } from "./data-dir.ts";
import { openEngine } from "./engine.ts";
import { lockFolder } from "./folder-lock.ts";
import { Multiplexer, type MultiplexerOptions } from "./multiplexer.ts";
import { query, readyStatus } from "./wire.ts";

/** A PostgreSQL that runs in a thread of this process and is served on a Unix socket. */
export interface EmbeddedDatabase {
  /** What `psql -h` takes. */
  socketDir: string;
  socketPath: string;
  /**
   * Lets nobody in any more. Connections may stay for `guestsMs` milliseconds (default 0) and transactions under way
   * for some seconds; then everything is closed and the folder given back.
   */
  close(guestsMs?: number): Promise<void>;
}

const IDLE_TRANSACTION_MS = 10_000;
/** Longer than any statement of a migration takes. */
const LONGEST_CALL_MS = 300_000;
const CLOSE_GRACE_MS = 2000;

/** How the answer to a statement that fails begins. */
const ERROR_RESPONSE = "E".charCodeAt(0);

/** The path of the socket in a data folder: absolute. */
export function socketPathOf(dataDir: string): string {
  return join(resolve(dataDir), ".s.PGSQL.5432");
}

/** The folder of the engine's files in a data folder. */
export function pgdataOf(dataDir: string): string {
  return join(resolve(dataDir), "pgdata");
}

/** Whether a data folder has a database already. */
export function hasDatabase(dataDir: string): boolean {
  return existsSync(join(pgdataOf(dataDir), "PG_VERSION"));
}

/**
 * Opens the database in `dataDir`, made if need be, for this user alone, and serves it on a socket there until it is
 * closed: any number of clients, one transaction at a time. `idleTransactionMs` bounds how long a client may do
 * nothing inside a transaction (default 10 s), `longestCallMs` how long it may keep the engine busy without a break
 * (default 5 minutes): that ends the connections of all. Whatever a client was told is committed survives the death of the
 * process, not that of the machine: nothing waits for the disk. Fails with DataDirInUseError while another process
 * has the folder, and with DataDirError if the folder can't be made or is open to other users.
 *
 * The clients share one session: what they SET lasts until another one has its turn, startup parameters have no
 * effect, temporary tables and advisory locks belong to all. There is no LISTEN, no COPY FROM STDIN and no cancelling.
 */
export async function openEmbedded(
  dataDir: string,
  options: Partial<MultiplexerOptions>,
): Promise<EmbeddedDatabase> {
  const limits = {
    idleTransactionMs: IDLE_TRANSACTION_MS,
    longestCallMs: LONGEST_CALL_MS,
    onWarning: (text: string) => process.emitWarning(text),
    ...options,
  };
  const socketDir = resolve(dataDir);
  const socketPath = socketPathOf(dataDir);
  requireShort(socketPath);
  openDataDir(dataDir);
  const unlock = await lockFolder(socketDir);
  try {
    const pgdata = pgdataOf(socketDir);
    if (!hasDatabase(socketDir)) await initialise(pgdata);
    const open = () => openEngine(pgdata);
    const multiplexer = new Multiplexer(await open(), open, limits);
    const server = await listen(multiplexer, socketPath).catch(async (error) => {
      await multiplexer.close(0);
      throw error;
    });
    const close = async (guestsMs: number) => {
      const empty = once(server, "close");
      server.close();
      await Promise.race([empty, wait(guestsMs, undefined, { ref: false })]);
      await multiplexer.close(CLOSE_GRACE_MS);
      unlock();
    };
    let closed: Promise<void> | undefined;
    return {
      socketDir,
      socketPath,
      close: (guestsMs = 0) => {
        closed ??= close(guestsMs);
        return closed;
      },
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

/** A longer path is cut by the operating system without a word, and the socket lies elsewhere. */
function requireShort(socketPath: string): void {
  const length = Buffer.byteLength(socketPath);
  const limit = process.platform === "darwin" ? 103 : 107;
  if (length <= limit) return;
  throw new Error(
    `The path of the database's socket is ${length} bytes long and may have ${limit}: ${socketPath}. ` +
      "Set DATA_DIR to a folder with a shorter path.",
  );
}

/**
 * Makes a new database in a folder of another name and renames that: one that was interrupted would never open again.
 * If it fails, it leaves nothing.
 */
async function initialise(pgdata: string): Promise<void> {
  const unfinished = `${pgdata}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  try {
    mkdirSync(unfinished, { mode: FOLDER_MODE });
    await (await openEngine(unfinished)).close();
    renameSync(unfinished, pgdata);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Opens the engine on its files, with nobody else in it, and closes it again. Fails where it can't be opened, or has
 * no migrated database. The caller holds the lock of the folder.
 */
export async function checkEngineFiles(pgdata: string): Promise<void> {
  const engine = await openEngine(pgdata);
  const look = query("select from drizzle.__drizzle_migrations, kycs limit 1");
  const answer = await engine.run(look).catch(async (crash) => {
    await engine.abandon();
    throw crash;
  });
  await engine.close();
  if (readyStatus(answer) !== "I" || Buffer.concat(answer)[0] === ERROR_RESPONSE) {
    throw new Error("there is no database of a gateway in it");
  }
}

/** Listens where only this user can connect. A socket file that is there has lost its process: the lock says so. */
function listen(multiplexer: Multiplexer, socketPath: string): Promise<Server> {
  rmSync(socketPath, { force: true });
  const server = createServer((socket) => multiplexer.accept(socket));
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => resolve(server));
    // The file is made before `listen` returns: there is no moment in which it has other permissions.
    const umask = process.umask(0o177);
    try {
      server.listen(socketPath);
    } finally {
      process.umask(umask);
    }
  });
}
