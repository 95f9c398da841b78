import { constants, existsSync } from "node:fs";
import { cp, lstat, mkdir, open, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import {
  FOLDER_MODE,
  findFoldersAside,
  isOpenToOthers,
  letsOthersReplace,
  makeFolderAside,
  moveToNew,
  syncFolder,
} from "../../lib/private-files.ts";
import type { Database, Executor } from "../client.ts";
import { pgdataOf } from "./embedded.ts";
import { DataDirInUseError, lockFolder } from "./folder-lock.ts";

/** A backup or restore is not possible. The message says why. */
export class BackupError extends Error {
  override readonly name = "BackupError";
}

/** The contents of a backup: the engine's files, and the keys if they were requested. */
export const PGDATA = "pgdata";
export const KEYS = "encryption-keys";

/** Interval of the statements that keep the backup's transaction from its idle timeout. */
const SIGN_OF_LIFE_MS = 1000;

/**
 * Afterwards `file`, which must not exist before, is a gzipped tar of the embedded database in `dataDir` with every
 * write that was acknowledged before the call. Only its owner can read it, and it is synced to disk. `db` is that
 * database; its other users wait while its files are copied, but not while the copy is packed. `file` appears when it
 * is complete. Until then the work is in a folder next to it, `<file>.unfinished-<random>`, which no other user can
 * open; the next backup removes what a killed one left. `onCopied` can write to the database when it has been copied, in
 * the transaction that has kept others from writing. Fails with a BackupError.
 */
export async function backUp(
  db: Database,
  dataDir: string,
  file: string,
  options: {
    withKeys: boolean;
    onWarning: (message: string) => void;
    onCopied?: (tx: Executor) => Promise<void>;
  },
): Promise<void> {
  const target = resolve(file);
  await requireSafePlace(target);
  await removeLeftovers(target);
  const unfinished = await makeFolderAside(target);
  try {
    const unlock = await lockFolder(unfinished);
    try {
      await requireReadersKeptOut(unfinished, options);
      const copies = join(unfinished, "files");
      await mkdir(copies, { mode: FOLDER_MODE });
      await whileHeld(db, () => copyFiles(dataDir, copies, options.withKeys), options.onCopied);
      const packed = join(unfinished, "packed");
      await pack(copies, packed);
      await moveToNew(packed, target).catch((error: NodeJS.ErrnoException) => {
        throw error.code === "EEXIST" ? alreadyExists(file) : error;
      });
      await syncFolder(dirname(target));
    } finally {
      unlock();
    }
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** Fails if the backup would replace a file, or if other users could replace parts of it in the meantime. */
async function requireSafePlace(target: string): Promise<void> {
  if (await lstat(target).catch(() => undefined)) throw alreadyExists(target);
  const folder = dirname(target);
  const isUnsafe = await letsOthersReplace(folder).catch((error: NodeJS.ErrnoException) => {
    throw new BackupError(`${target} can't be written: ${error.code}`);
  });
  if (!isUnsafe) return;
  throw new BackupError(
    `other users can replace files in ${folder}: back up to a folder of your own (mkdir -m 700), or chmod +t it`,
  );
}

/** Removes the folders that killed backups to this file have left. Fails if a backup is running. */
async function removeLeftovers(target: string): Promise<void> {
  for (const folder of await findFoldersAside(target)) {
    const unlock = await lockFolder(folder).catch((error) => {
      throw error instanceof DataDirInUseError
        ? new BackupError(`a backup to ${target} is under way`)
        : error;
    });
    await rm(folder, { recursive: true, force: true });
    unlock();
  }
}

/** On a file system without permissions, such as FAT, every user can read everything, so no keys may be stored there. */
async function requireReadersKeptOut(
  folder: string,
  { withKeys, onWarning }: { withKeys: boolean; onWarning: (message: string) => void },
): Promise<void> {
  if (!(await isOpenToOthers(folder))) return;
  const fault = `the file system of ${dirname(folder)} keeps no permissions, so other users of this machine can read what is there`;
  if (withKeys) throw new BackupError(`${fault}: no keys are put there`);
  onWarning(fault);
}

const alreadyExists = (file: string) =>
  new BackupError(`${file} is there already, and a backup never overwrites`);

/** Does `work` while nothing is written: a transaction holds the engine, and all earlier writes are in the files. */
async function whileHeld(
  db: Database,
  work: () => Promise<void>,
  after: (tx: Executor) => Promise<void> = async () => {},
): Promise<void> {
  // Most of the writing to disk happens here, before others have to wait.
  await db.execute("checkpoint", [], Number.POSITIVE_INFINITY);
  await db.transaction(async (tx) => {
    await tx.execute("checkpoint");
    // An idle transaction is rolled back. If that happens nevertheless, the next statement fails, and so does this.
    let signs: Promise<unknown> = Promise.resolve();
    const timer = setInterval(() => {
      signs = signs.then(() => tx.execute("select 1"));
      signs.catch(() => {});
    }, SIGN_OF_LIFE_MS);
    try {
      await work();
    } finally {
      clearInterval(timer);
    }
    await signs;
    await tx.execute("select 1");
    await after(tx);
  }, Number.POSITIVE_INFINITY);
}

async function copyFiles(dataDir: string, folder: string, withKeys: boolean): Promise<void> {
  await cp(pgdataOf(dataDir), join(folder, PGDATA), { recursive: true, mode: constants.COPYFILE_FICLONE });
  const keys = join(resolve(dataDir), KEYS);
  if (!withKeys || !existsSync(keys)) return;
  // It can be a link that an operator made.
  await cp(keys, join(folder, KEYS), { dereference: true });
}

async function pack(folder: string, file: string): Promise<void> {
  const names = [KEYS, PGDATA].filter((name) => existsSync(join(folder, name)));
  // Every command loads this module, for its errors; only a backup needs the library.
  const { create } = await import("tar");
  const target = await open(file, "wx", 0o600);
  try {
    await writeFile(target, create({ cwd: folder, gzip: { level: 6 }, portable: true }, names));
    await target.sync();
  } finally {
    await target.close();
  }
}
