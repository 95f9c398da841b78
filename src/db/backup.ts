import { constants, existsSync } from "node:fs";
import { cp, link, mkdir, open, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { create } from "tar";
import type { Database } from "./client.ts";
import { pgdataOf } from "./embedded.ts";
import { DataDirInUseError, lockFolder } from "./folder-lock.ts";

/** A backup or its restoration can't be: its message says why. */
export class BackupError extends Error {
  override readonly name = "BackupError";
}

/** What a backup holds: the engine's files, and the keys where they are wished for. */
export const PGDATA = "pgdata";
export const KEYS = "encryption-keys";

/** So often the transaction that keeps others out says that it lives. Milliseconds. */
const SIGN_OF_LIFE = 1000;

/**
 * Afterwards `file`, which must not exist, holds the embedded database of `dataDir` as it stands now, with every write
 * that was acknowledged before: a gzipped tar, readable by its owner alone, and on the disk. `db` is that database,
 * whose other users wait while its files are copied, not while the copy is packed. Until it is whole the file is not
 * there; what a killed backup leaves lies beside it as `<file>.unfinished`, and the next one clears it away. Fails
 * with BackupError.
 */
export async function backUp(
  db: Database,
  dataDir: string,
  file: string,
  options: { withKeys: boolean },
): Promise<void> {
  const target = resolve(file);
  requireAbsent(target);
  const unfinished = `${target}.unfinished`;
  await mkdir(unfinished, { mode: 0o700 }).catch(rethrowUnless("EEXIST"));
  const unlock = await lockFolder(unfinished).catch((error) => {
    throw error instanceof DataDirInUseError ? new BackupError(`a backup to ${file} is under way`) : error;
  });
  try {
    const copies = join(unfinished, "files");
    await rm(copies, { recursive: true, force: true });
    await mkdir(copies, { mode: 0o700 });
    await whileHeld(db, () => copyFiles(dataDir, copies, options.withKeys));
    const packed = join(unfinished, "packed");
    await pack(copies, packed);
    // Unlike a renaming, a link never takes the place of a file that is there.
    await link(packed, target).catch((error: NodeJS.ErrnoException) => {
      requireAbsent(target);
      throw error;
    });
    await sync(dirname(target));
  } finally {
    await rm(unfinished, { recursive: true, force: true });
    unlock();
  }
}

function requireAbsent(file: string): void {
  if (existsSync(file)) throw new BackupError(`${file} is there already, and a backup never overwrites`);
}

const rethrowUnless = (code: string) => (error: NodeJS.ErrnoException) => {
  if (error.code !== code) throw error;
};

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
  if (withKeys && existsSync(keys)) await cp(keys, join(folder, KEYS));
}

async function pack(folder: string, file: string): Promise<void> {
  const names = [KEYS, PGDATA].filter((name) => existsSync(join(folder, name)));
  await create({ cwd: folder, file, gzip: { level: 6 }, portable: true, mode: 0o600 }, names);
  await sync(file);
}

/** Afterwards a file, or the names in a folder, survive a power cut. */
async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
