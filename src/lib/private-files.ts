import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { chmod, lstat, mkdtemp, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** For files and folders that only their owner may use. */
const FILE_MODE = 0o600;
export const FOLDER_MODE = 0o700;

/** Permissions of the group and of everybody else. */
export const OF_OTHERS = 0o077;

/** `open` fails if the name is taken, and never follows a symbolic link. */
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

const STICKY = 0o1000;
const WRITABLE_BY_GROUP = 0o020;
const WRITABLE_BY_ALL = 0o002;

/** What a file system answers that can't write a folder's names to the disk, or that does not let this user ask for it. */
const CANNOT_SYNC = ["EINVAL", "ENOTSUP", "ENOSYS", "EPERM", "EACCES", "EBADF"];

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? "";

/** The user that this process runs as; undefined on a system without user ids. */
export const currentUser = (): number | undefined => process.geteuid?.();

/**
 * Afterwards there is a new file with this text, on the disk, for this user alone. Fails with EEXIST if the name is
 * taken, also by a symbolic link that leads nowhere. If it fails later, it leaves no file.
 */
export async function createFile(path: string, text: string): Promise<void> {
  const file = await open(path, NEW_FILE, FILE_MODE);
  try {
    await file.writeFile(text);
    await file.sync();
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/**
 * Afterwards the file has this text instead of its own, for this user alone. It is complete at every moment, also after
 * a power cut. A symbolic link of this name is replaced, not followed. If it fails, everything is as before.
 */
export async function replaceFile(path: string, text: string): Promise<void> {
  await writeAside(path, text, (aside) => rename(aside, path));
}

/**
 * As `createFile`, but nobody ever reads a part of the text: the file is empty for an instant at most, and complete
 * from then on.
 */
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
 * Renames a file to a name that must be free, in a folder of the same file system. Fails with EEXIST if the name is
 * taken. A rename alone would replace what is there, and many file systems have no hard links: so an empty file
 * reserves the name first. If this fails, the name is free again.
 */
export async function moveToNew(from: string, to: string): Promise<void> {
  await (await open(to, NEW_FILE, FILE_MODE)).close();
  try {
    await rename(from, to);
  } catch (error) {
    await rm(to, { force: true });
    throw error;
  }
}

/** Between a path and the random characters that `mkdtemp` puts last. */
const ASIDE_SUFFIX = ".unfinished-";

/** Makes a folder beside `path`, for this user alone, under a name that nobody can guess: it comes back. */
export function makeFolderAside(path: string): Promise<string> {
  return mkdtemp(`${path}${ASIDE_SUFFIX}`);
}

/** The folders that `makeFolderAside(path)` has made for this user; none if this user can't list what is there. */
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

/** Whether others than this user and root can replace what this user puts into the folder. */
export async function letsOthersReplace(folder: string): Promise<boolean> {
  const user = currentUser();
  if (user === undefined) return false;
  const { uid, gid, mode } = await stat(folder);
  if (uid !== user && uid !== 0) return true;
  if ((mode & STICKY) !== 0) return false;
  // A group of the user's own, as many systems give to each user, lets nobody else in.
  const hasOthersInGroup = gid !== process.getegid?.();
  return (mode & WRITABLE_BY_ALL) !== 0 || ((mode & WRITABLE_BY_GROUP) !== 0 && hasOthersInGroup);
}

/** Whether the group or everybody else may do anything with it. False on a system without user ids. */
export async function isOpenToOthers(path: string): Promise<boolean> {
  return currentUser() !== undefined && ((await stat(path)).mode & OF_OTHERS) !== 0;
}

/**
 * Takes away what others may do with a file of this user, and what everybody may do with one of another user: that
 * one is readable for this user through its group. Fails if that can't be changed; a file that is private enough is
 * not touched.
 */
export async function makePrivate(path: string): Promise<void> {
  const user = currentUser();
  if (user === undefined) return;
  const { uid, mode } = await stat(path);
  const tooMuch = uid === user ? OF_OTHERS : WRITABLE_BY_GROUP | 0o007;
  if ((mode & tooMuch) !== 0) await chmod(path, mode & 0o777 & ~tooMuch);
}

/** Afterwards the names in a folder survive a power cut, if its file system can do that. */
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
