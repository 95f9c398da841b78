import { constants, existsSync } from "node:fs";
import { cp, lstat, mkdir, open, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { create } from "tar";
import {
  FOLDER_MODE,
  findFoldersAside,
  isOpenToOthers,
  letsOthersReplace,
  makeFolderAside,
  moveToNew,
  syncFolder,
} from "../../lib/private-files.ts";
import type { Database } from "../client.ts";
import { pgdataOf } from "./embedded.ts";
import { DataDirInUseError, lockFolder } from "./folder-lock.ts";

/** A backup or a restoration is not possible: the message says why. */
export class BackupError extends Error {
  override readonly name = "BackupError";
}

/** What a backup holds: the engine's files, and the keys if they are asked for. */
export const PGDATA = "pgdata";
export const KEYS = "encryption-keys";

/** So often the transaction that keeps others out says that it lives. Milliseconds. */
const SIGN_OF_LIFE = 1000;

/**
 * Afterwards `file`, which must not exist, holds the embedded database of `dataDir` as it stands now, with every write
 * that was acknowledged before: a gzipped tar, readable by its owner alone, and on the disk. `db` is that database,
 * whose other users wait while its files are copied, not while the copy is packed. Until it is complete the file is
 * not there. The work is done in a folder beside it with a random name, `<file>.unfinished-…`, which no other user
 * can open; what a killed backup leaves of it is removed by the next one. Fails with BackupError.
 */
export async function backUp(
  db: Database,
  dataDir: string,
  file: string,
  options: { withKeys: boolean; onWarning: (message: string) => void },
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
      await whileHeld(db, () => copyFiles(dataDir, copies, options.withKeys));
      const packed = join(unfinished, "packed");
      await pack(copies, packed);
      await moveToNew(packed, target).catch((error: NodeJS.ErrnoException) => {
        throw error.code === "EEXIST" ? isThere(file) : error;
      });
      await syncFolder(dirname(target));
    } finally {
      unlock();
    }
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** Fails if the backup would replace something, or other users could replace parts of it while it is made. */
async function requireSafePlace(target: string): Promise<void> {
  if (await lstat(target).catch(() => undefined)) throw isThere(target);
  const folder = dirname(target);
  const isUnsafe = await letsOthersReplace(folder).catch((error: NodeJS.ErrnoException) => {
    throw new BackupError(`${target} can't be written: ${error.code}`);
  });
  if (!isUnsafe) return;
  throw new BackupError(
    `other users can replace files in ${folder}: back up to a folder of your own (mkdir -m 700), or chmod +t it`,
  );
}

/** Removes what killed backups to this file have left. Fails if one is running. */
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

/** A file system without permissions, such as FAT, shows each user everything: keys are not put there. */
async function requireReadersKeptOut(
  folder: string,
  { withKeys, onWarning }: { withKeys: boolean; onWarning: (message: string) => void },
): Promise<void> {
  if (!(await isOpenToOthers(folder))) return;
  const fault = `the file system of ${dirname(folder)} keeps no permissions, so other users of this machine can read what is there`;
  if (withKeys) throw new BackupError(`${fault}: no keys are put there`);
  onWarning(fault);
}

const isThere = (file: string) => new BackupError(`${file} is there already, and a backup never overwrites`);

/** Does `work` while nobody writes: a transaction has the engine to itself, and all before it is in the files. */
async function whileHeld(db: Database, work: () => Promise<void>): Promise<void> {
  // What others wrote so far needs not be written while they wait.
  await db.execute("checkpoint", [], Number.POSITIVE_INFINITY);
  await db.transaction(async (tx) => {
    await tx.execute("checkpoint");
    // One that is silent for long is rolled back; where that has happened, the next sign fails, and so does this.
    let signs: Promise<unknown> = Promise.resolve();
    const timer = setInterval(() => {
      signs = signs.then(() => tx.execute("select 1"));
      signs.catch(() => {});
    }, SIGN_OF_LIFE);
    try {
      await work();
    } finally {
      clearInterval(timer);
    }
    await signs;
    await tx.execute("select 1");
  }, Number.POSITIVE_INFINITY);
}

async function copyFiles(dataDir: string, folder: string, withKeys: boolean): Promise<void> {
  await cp(pgdataOf(dataDir), join(folder, PGDATA), { recursive: true, mode: constants.COPYFILE_FICLONE });
  const keys = join(resolve(dataDir), KEYS);
  if (!withKeys || !existsSync(keys)) return;
  // An operator may have put a link there.
  await cp(keys, join(folder, KEYS), { dereference: true });
}

async function pack(folder: string, file: string): Promise<void> {
  const names = [KEYS, PGDATA].filter((name) => existsSync(join(folder, name)));
  const target = await open(file, "wx", 0o600);
  try {
    await writeFile(target, create({ cwd: folder, gzip: { level: 6 }, portable: true }, names));
    await target.sync();
  } finally {
    await target.close();
  }
}
