import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { chmod, link, lstat, mkdtemp, open, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** For files and folders that only their owner may use. */
export const FILE_MODE = 0o600;
export const FOLDER_MODE = 0o700;

/** Permissions of the group and of everybody else. */
export const OF_OTHERS = 0o077;

/** `open` fails if the name is taken, and never follows a symbolic link. */
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

const STICKY = 0o1000;
const WRITABLE_BY_GROUP = 0o020;
const WRITABLE_BY_ALL = 0o002;

/** Error codes of file systems that can't sync a folder, or don't allow this user to. */
const CANNOT_SYNC = ["EINVAL", "ENOTSUP", "ENOSYS", "EPERM", "EACCES", "EBADF"];

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? "";

/** The user that this process runs as; undefined on a system without user ids. */
export const currentUser = (): number | undefined => process.geteuid?.();

/**
 * Creates a file with this text, synced to disk, that only this user can access. Fails with EEXIST if the name is taken,
 * even by a broken symbolic link, before any piece of the text is read. If it fails later, no file remains.
 */
export async function createFile(path: string, text: string | AsyncIterable<string>): Promise<void> {
  const file = await open(path, NEW_FILE, FILE_MODE);
  try {
    await writeFile(file, text);
    await file.sync();
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/**
 * Replaces the file's contents; only this user can access the result. The file is complete at every moment, even after a
 * power cut. A symbolic link is replaced, not followed. If it fails, nothing has changed.
 */
export async function replaceFile(path: string, text: string): Promise<void> {
  await writeAside(path, text, (aside) => rename(aside, path));
}

/** As `createFile`, but a reader never sees a part of the text, except as `moveToNew` says. */
export async function createWholeFile(path: string, text: string): Promise<void> {
  await writeAside(path, text, (aside) => moveToNew(aside, path));
}

async function writeAside(path: string, text: string, move: (aside: string) => Promise<void>): Promise<void> {
  const aside = `${path}.${randomBytes(4).toString("hex")}.new`;
  await createFile(aside, text);
  try {
    await move(aside);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

/**
 * Renames a file to a free name on the same file system. Fails with EEXIST if the name is taken; if it fails otherwise, the
 * name is free again. A rename alone would replace an existing file. On a file system without hard links, such as FAT, the
 * file is briefly empty, and a process that is killed then leaves it so.
 */
export async function moveToNew(from: string, to: string): Promise<void> {
  const failure = await link(from, to).catch((error: NodeJS.ErrnoException) => error);
  if (failure?.code === "EEXIST") throw failure;
  if (failure !== undefined) await (await open(to, NEW_FILE, FILE_MODE)).close();
  try {
    await (failure === undefined ? rm(from) : rename(from, to));
  } catch (error) {
    await rm(to, { force: true });
    throw error;
  }
}

/** Separates the path from the random characters that `mkdtemp` appends. */
const ASIDE_SUFFIX = ".unfinished-";

/** Makes a folder next to `path` with an unguessable name, which only this user can access. Returns its path. */
export function makeFolderAside(path: string): Promise<string> {
  return mkdtemp(`${path}${ASIDE_SUFFIX}`);
}

/** The folders that `makeFolderAside(path)` has made for this user; none if this user can't list the parent folder. */
export async function findFoldersAside(path: string): Promise<string[]> {
  const prefix = `${basename(path)}${ASIDE_SUFFIX}`;
  const entries = await readdir(dirname(path)).catch(() => []);
  const names = entries.filter((name) => name.startsWith(prefix) && name.length === prefix.length + 6);
  const folders: string[] = [];
  for (const name of names) {
    const folder = join(dirname(path), name);
    const found = await lstat(folder).catch(() => undefined);
    if (found?.isDirectory() && found.uid === (currentUser() ?? found.uid)) folders.push(folder);
  }
  return folders;
}

/** Whether users other than this one and root can replace files that this user creates in the folder. */
export async function letsOthersReplace(folder: string): Promise<boolean> {
  const user = currentUser();
  if (user === undefined) return false;
  const { uid, gid, mode } = await stat(folder);
  if (uid !== user && uid !== 0) return true;
  if ((mode & STICKY) !== 0) return false;
  // Many systems give each user their own group, which has no other members.
  const hasOthersInGroup = gid !== process.getegid?.();
  return (mode & WRITABLE_BY_ALL) !== 0 || ((mode & WRITABLE_BY_GROUP) !== 0 && hasOthersInGroup);
}

/** Whether the group or others have any permission. False on a system without user ids. */
export async function isOpenToOthers(path: string): Promise<boolean> {
  return currentUser() !== undefined && ((await stat(path)).mode & OF_OTHERS) !== 0;
}

/**
 * Removes other users' permissions on a file. If the file belongs to another user, the group keeps read permission,
 * because this user reads it through the group. Fails if the mode can't be changed. A private file is not touched.
 */
export async function makePrivate(path: string): Promise<void> {
  const user = currentUser();
  if (user === undefined) return;
  const { uid, mode } = await stat(path);
  const tooMuch = uid === user ? OF_OTHERS : WRITABLE_BY_GROUP | 0o007;
  if ((mode & tooMuch) !== 0) await chmod(path, mode & 0o777 & ~tooMuch);
}

/** Syncs a folder, so that its file names survive a power cut, if the file system supports it. */
export async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, constants.O_RDONLY);
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch (error) {
    if (!CANNOT_SYNC.includes(codeOf(error))) throw error;
  }
}
