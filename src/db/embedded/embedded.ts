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
import { unpackNewDatabase } from "./new-database.ts";
import { query, readyStatus } from "./wire.ts";

/** A PostgreSQL that runs in a thread of this process and is served on a Unix socket. */
export interface EmbeddedDatabase {
  /** The folder for `psql -h`. */
  socketDir: string;
  socketPath: string;
  /**
   * Accepts no new connections. Existing ones get `guestsMs` milliseconds (default 0), and running transactions then get
   * `closeGraceMs`. Then everything is closed and the folder unlocked.
   */
  close(guestsMs?: number): Promise<void>;
}

interface EmbeddedOptions extends MultiplexerOptions {
  /** Whether this process keeps the folder until it is stopped. Default false. */
  isGateway: boolean;
  /** How long transactions may go on at closing, and, after as long again, a statement before it is ended. Milliseconds. */
  closeGraceMs: number;
}

const IDLE_TRANSACTION_MS = 10_000;
/** Longer than any statement of a migration takes. Milliseconds. */
const LONGEST_CALL_MS = 300_000;
const CLOSE_GRACE_MS = 2000;

/** The first byte of the answer to a statement that fails. */
const ERROR_RESPONSE = "E".charCodeAt(0);

/** The absolute path of the socket in a data folder. */
export function socketPathOf(dataDir: string): string {
  return join(resolve(dataDir), ".s.PGSQL.5432");
}

/** The absolute path of the engine's files in a data folder. */
export function pgdataOf(dataDir: string): string {
  return join(resolve(dataDir), "pgdata");
}

/** Whether a data folder contains a database. */
export function hasDatabase(dataDir: string): boolean {
  return existsSync(join(pgdataOf(dataDir), "PG_VERSION"));
}

/**
 * Opens the database in `dataDir`, creating it if necessary, and serves it on a socket there until it is closed. Only
 * this user can connect. There can be any number of clients, with one transaction at a time. `idleTransactionMs` limits
 * how long a client may be idle inside a transaction (default 10 s). `longestCallMs` limits how long it may keep the
 * engine busy (default 5 minutes); after that, all connections end. `closeGraceMs` has a default of 2 s. An acknowledged
 * commit survives the death of the process, but not of the machine, because nothing waits for the disk. Fails with a
 * DataDirInUseError if another process has the folder open, and with a DataDirError if the folder can't be created or other
 * users can access it.
 *
 * All clients share one session. SET lasts until another client has its turn, startup parameters have no effect, and
 * temporary tables and advisory locks belong to all. LISTEN, COPY FROM STDIN and cancelling are not supported.
 */
export async function openEmbedded(
  dataDir: string,
  options: Partial<EmbeddedOptions>,
): Promise<EmbeddedDatabase> {
  const limits = {
    idleTransactionMs: IDLE_TRANSACTION_MS,
    longestCallMs: LONGEST_CALL_MS,
    closeGraceMs: CLOSE_GRACE_MS,
    isGateway: false,
    onWarning: (text: string) => process.emitWarning(text),
    ...options,
  };
  const socketDir = resolve(dataDir);
  const socketPath = socketPathOf(dataDir);
  requireShort(socketPath);
  openDataDir(dataDir);
  const unlock = await lockFolder(socketDir, limits);
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
      await multiplexer.close(limits.closeGraceMs);
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

/** The operating system silently cuts a longer path, so the socket would be somewhere else. */
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
 * Creates a new database under another name and renames it when it is complete, because an incomplete one can never be
 * opened. If it fails, nothing remains.
 */
async function initialise(pgdata: string): Promise<void> {
  const unfinished = `${pgdata}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  try {
    mkdirSync(unfinished, { mode: FOLDER_MODE });
    await unpackNewDatabase(unfinished);
    renameSync(unfinished, pgdata);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Opens the engine on its files without serving it, and closes it again. Fails if it can't be opened or has no migrated
 * database. The caller holds the folder's lock.
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

/** Listens on a socket that only this user can open. An existing socket file is stale, because we hold the folder's lock. */
function listen(multiplexer: Multiplexer, socketPath: string): Promise<Server> {
  rmSync(socketPath, { force: true });
  const server = createServer((socket) => multiplexer.accept(socket));
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => resolve(server));
    // `listen` creates the file before it returns, so the file never has other permissions.
    const umask = process.umask(0o177);
    try {
      server.listen(socketPath);
    } finally {
      process.umask(umask);
    }
  });
}
