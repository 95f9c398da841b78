import { constants as files, rmSync } from "node:fs";
import { cp, mkdtemp, readdir, rm, stat, statfs } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../../config/config.ts";
import type { Database } from "../../db/client.ts";
import { hasDatabase, openEmbedded, pgdataOf, socketPathOf } from "../../db/embedded/embedded.ts";
import { findLockHolder, lastLockedAt } from "../../db/embedded/folder-lock.ts";
import { untilHandedOver } from "../../db/open.ts";
import { refusesSettings } from "../../db/open-server.ts";
import type { DatabaseAddress } from "../../db/pool/address.ts";
import { connect } from "../../db/pool/pool.ts";
import { AppError } from "../../errors.ts";

/** A database that was opened without changing anything in it. */
export interface InspectedDatabase {
  /** Sessions as the gateway has them. */
  db: Database;
  /** A session without the gateway's own settings, as the role's defaults make it. */
  defaults: Database;
  /** Whether a pooler shares the server's connections between clients. */
  isPooled: boolean;
  /** How it was opened, in words. */
  how: string;
  close(): Promise<void>;
}

/** Of one statement. Milliseconds. */
const STATEMENT_LIMIT_MS = 5000;
const LIMITS = { statementTimeout: STATEMENT_LIMIT_MS, transactionTimeout: STATEMENT_LIMIT_MS };
/** A larger database is not copied. */
const LARGEST_COPY_BYTES = 2 * 1024 ** 3;

/** Opens the configured database; null if the embedded one does not exist yet. Fails if it can't be reached or opened. */
export function openForInspection({ databaseUrl, dataDir }: Config): Promise<InspectedDatabase | null> {
  if (databaseUrl !== undefined) return openServer({ url: databaseUrl });
  return hasDatabase(dataDir) ? openEmbeddedOrCopy(dataDir) : Promise.resolve(null);
}

async function openServer(address: DatabaseAddress): Promise<InspectedDatabase> {
  const defaults = connect({ address, poolSize: 1, prepare: false, ...LIMITS });
  const db = connect({ address, poolSize: 1, prepare: false, settings: "at the start", ...LIMITS });
  const close = async () => {
    await Promise.all([defaults.close(), db.close()]);
  };
  try {
    await db.execute("select 1");
    return { db, defaults, isPooled: false, how: "", close };
  } catch (error) {
    if (refusesSettings(error)) {
      return { db: defaults, defaults, isPooled: true, how: "through a pooler", close };
    }
    await close();
    throw error;
  }
}

class OpenedMeanwhile extends Error {
  constructor() {
    super("other processes opened the embedded database again and again while it was copied: run this again");
  }
}

async function openEmbeddedOrCopy(dataDir: string): Promise<InspectedDatabase> {
  return untilHandedOver(
    async () => {
      // It is read first: a process can lock the folder at any later moment.
      const lastLocked = await lastLockedAt(dataDir);
      const holder = await findLockHolder(dataDir);
      if (holder !== undefined) return openThroughHolder(dataDir, holder.pid || "of another program");
      const folder = await copyDatabase(dataDir);
      if ((await lastLockedAt(dataDir)) === lastLocked) return openCopy(folder);
      // A process that had it open meanwhile may have changed files while they were copied.
      await rm(folder, { recursive: true, force: true });
      throw new OpenedMeanwhile();
    },
    async (failure) => failure instanceof AppError || failure instanceof OpenedMeanwhile,
  );
}

function openOn(socketPath: string, how: string, end: () => Promise<void>): InspectedDatabase {
  const db = connect({ address: { socketPath }, poolSize: 1, prepare: false, ...LIMITS });
  const close = async () => {
    await db.close();
    await end();
  };
  return { db, defaults: db, isPooled: false, how, close };
}

async function openThroughHolder(dataDir: string, holder: string): Promise<InspectedDatabase> {
  const inspected = openOn(
    socketPathOf(dataDir),
    `through the process ${holder}, which has it open`,
    async () => {},
  );
  try {
    await inspected.db.execute("select 1");
    return inspected;
  } catch (error) {
    await inspected.close();
    throw error;
  }
}

async function openCopy(folder: string): Promise<InspectedDatabase> {
  try {
    const embedded = await openEmbedded(folder, { onWarning: () => {} });
    return openOn(
      embedded.socketPath,
      "in a copy of its files, since to open them changes them",
      async () => {
        await embedded.close();
        await rm(folder, { recursive: true, force: true });
      },
    );
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Copies the database's files into a temporary folder of this user alone, which is deleted when the process ends. */
async function copyDatabase(dataDir: string): Promise<string> {
  const pgdata = pgdataOf(dataDir);
  const size = await sizeOf(pgdata).catch(asOpenedMeanwhile);
  const { bavail, bsize } = await statfs(tmpdir());
  if (size > Math.min(LARGEST_COPY_BYTES, (bavail * bsize) / 2)) {
    throw new Error(
      `the embedded database has ${Math.ceil(size / 1024 ** 2)} MiB, too much for a copy in ${tmpdir()}: start the gateway, and run this again`,
    );
  }
  const folder = await mkdtemp(join(tmpdir(), "kyc-doctor-"));
  deleteAtEnd(folder);
  try {
    await cp(pgdata, pgdataOf(folder), { recursive: true, mode: files.COPYFILE_FICLONE });
    return folder;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    return asOpenedMeanwhile(error);
  }
}

const temporary = new Set<string>();

function deleteAtEnd(folder: string): void {
  if (temporary.size === 0) {
    process.once("exit", () => {
      for (const one of temporary) rmSync(one, { recursive: true, force: true });
    });
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.once(signal, () => process.exit(128 + constants.signals[signal]));
    }
  }
  temporary.add(folder);
}

async function sizeOf(folder: string): Promise<number> {
  let size = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) size += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return size;
}

/** A file that was just listed is gone. */
function asOpenedMeanwhile(error: unknown): never {
  throw (error as NodeJS.ErrnoException).code === "ENOENT" ? new OpenedMeanwhile() : error;
}
