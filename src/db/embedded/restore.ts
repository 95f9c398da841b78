import { existsSync, readFileSync } from "node:fs";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { extract } from "tar";
import { FOLDER_MODE, moveToNew, OF_OTHERS } from "../../lib/private-files.ts";
import { BackupError, KEYS, PGDATA } from "./backup.ts";
import { openDataDir } from "./data-dir.ts";
import { checkEngineFiles, hasDatabase, pgdataOf } from "./embedded.ts";
import { lockFolder } from "./folder-lock.ts";

/**
 * Afterwards `dataDir`, which must not contain a database before, contains the database of the backup, and its keys if
 * the backup has any. The backup is unpacked and opened in a separate folder inside `dataDir` first: until it is known to
 * work, and if the restore is interrupted, `dataDir` has no database. Fails with a BackupError, with a DataDirInUseError
 * if another process has the folder open, and with a DataDirError if other users can access it.
 */
export async function restore(dataDir: string, file: string): Promise<void> {
  await access(file).catch(() => {
    throw new BackupError(`${file} can't be read`);
  });
  const folder = openDataDir(dataDir);
  const unlock = await lockFolder(folder);
  const unpacked = join(folder, "restore.unfinished");
  try {
    if (hasDatabase(folder)) {
      throw new BackupError(`${dataDir} has a database already: set DATA_DIR to another folder`);
    }
    await rm(unpacked, { recursive: true, force: true });
    await mkdir(unpacked, { mode: FOLDER_MODE });
    unpack(file, unpacked);
    await checkEngineFiles(join(unpacked, PGDATA)).catch((error) => {
      throw notABackup(file, error);
    });
    // Move the database last: until it is there, nothing counts as restored.
    const undoMove = await moveKeys(unpacked, folder);
    await rename(join(unpacked, PGDATA), pgdataOf(folder)).catch(async (error) => {
      await undoMove();
      throw error;
    });
  } finally {
    await rm(unpacked, { recursive: true, force: true });
    unlock();
  }
}

/** Unpacks only what a backup contains: plain files and folders under its two names. */
function unpack(file: string, folder: string): void {
  const isOurs = (path: string) => path === KEYS || path.split("/")[0] === PGDATA;
  const isPlain = (entry: object) => "type" in entry && ["File", "Directory"].includes(String(entry.type));
  try {
    extract({
      file,
      cwd: folder,
      // If it ran asynchronously and failed, it could still be writing after this function returns.
      sync: true,
      strict: true,
      preserveOwner: false,
      umask: OF_OTHERS,
      filter: (path, entry) => isOurs(path) && isPlain(entry),
    });
  } catch (error) {
    throw notABackup(file, error);
  }
  if (!existsSync(join(folder, PGDATA, "PG_VERSION"))) throw notABackup(file);
}

/** Moves the backup's keys, if it has any, to the folder. Returns the function that undoes it. */
async function moveKeys(from: string, to: string): Promise<() => Promise<void>> {
  const [restored, present] = [join(from, KEYS), join(to, KEYS)];
  const nothingToUndo = async () => {};
  if (!existsSync(restored)) return nothingToUndo;
  if (existsSync(present)) {
    if (readFileSync(present).equals(readFileSync(restored))) return nothingToUndo;
    throw new BackupError(`${present} holds other keys than the backup: move them away first`);
  }
  await moveToNew(restored, present);
  return () => rm(present, { force: true });
}

function notABackup(file: string, cause?: unknown): BackupError {
  return new BackupError(`${file} is not a whole backup, and nothing was restored`, { cause });
}
