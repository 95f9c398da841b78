import { existsSync, readFileSync } from "node:fs";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { extract } from "tar";
import { BackupError, KEYS, PGDATA } from "./backup.ts";
import { checkEngineFiles, hasDatabase, pgdataOf } from "./embedded.ts";
import { lockFolder } from "./folder-lock.ts";

/**
 * Afterwards `dataDir`, which must not have a database, has the one of the backup, and its keys where the backup has
 * them. It is unpacked and opened beside: until it is found to work, and where this is interrupted, the folder has
 * none. Fails with BackupError, and with DataDirInUseError while another process has the folder.
 */
export async function restore(dataDir: string, file: string): Promise<void> {
  await access(file).catch(() => {
    throw new BackupError(`${file} can't be read`);
  });
  const folder = resolve(dataDir);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const unlock = await lockFolder(folder);
  const unpacked = join(folder, "restore.unfinished");
  try {
    if (hasDatabase(folder)) {
      throw new BackupError(`${dataDir} has a database already: set DATA_DIR to another folder`);
    }
    await rm(unpacked, { recursive: true, force: true });
    await mkdir(unpacked, { mode: 0o700 });
    unpack(file, unpacked);
    await checkEngineFiles(join(unpacked, PGDATA)).catch((error) => {
      throw notABackup(file, error);
    });
    // The database last: as long as it is not there, nothing is restored.
    await moveKeys(unpacked, folder);
    await rename(join(unpacked, PGDATA), pgdataOf(folder));
  } finally {
    await rm(unpacked, { recursive: true, force: true });
    unlock();
  }
}

/** Takes nothing from a file but what a backup holds: plain files and folders under its two names. */
function unpack(file: string, folder: string): void {
  const isOurs = (path: string) => path === KEYS || path.split("/")[0] === PGDATA;
  const isPlain = (entry: object) => "type" in entry && ["File", "Directory"].includes(String(entry.type));
  try {
    extract({
      file,
      cwd: folder,
      // One that fails later than this returns would still be writing.
      sync: true,
      strict: true,
      preserveOwner: false,
      filter: (path, entry) => isOurs(path) && isPlain(entry),
    });
  } catch (error) {
    throw notABackup(file, error);
  }
  if (!existsSync(join(folder, PGDATA, "PG_VERSION"))) throw notABackup(file);
}

async function moveKeys(from: string, to: string): Promise<void> {
  const [restored, present] = [join(from, KEYS), join(to, KEYS)];
  if (!existsSync(restored)) return;
  if (existsSync(present) && !readFileSync(present).equals(readFileSync(restored))) {
    throw new BackupError(`${present} holds other keys than the backup: move them away first`);
  }
  await rename(restored, present);
}

function notABackup(file: string, cause?: unknown): BackupError {
  return new BackupError(`${file} is not a whole backup, and nothing was restored`, { cause });
}
