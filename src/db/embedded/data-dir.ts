import { accessSync, constants, lstatSync, mkdirSync, readdirSync, type Stats, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { currentUser, FOLDER_MODE, OF_OTHERS } from "../../lib/private-files.ts";

/** DATA_DIR can't be created, or other users can access it. The message says what to do. */
export class DataDirError extends Error {
  override readonly name = "DataDirError";
  /** The operating system's error code, if there is one. */
  readonly code: string | undefined;

  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Afterwards the data folder exists, belongs to this user, and no other user can access it: a user who can write to it
 * could replace keys and links. Returns its absolute path. Fails with a DataDirError.
 */
export function openDataDir(dataDir: string): string {
  const folder = resolve(dataDir);
  try {
    makeFolders(folder);
    requireOwn(folder);
  } catch (error) {
    throw asDataDirError(folder, error);
  }
  return folder;
}

/**
 * Whether the data folder exists. Creates nothing. Fails with a DataDirError if a start could not use it or create it.
 */
export function inspectDataDir(dataDir: string): boolean {
  const folder = resolve(dataDir);
  try {
    const exists = isFolder(folder);
    if (exists) requireOwn(folder);
    let nearest = folder;
    while (!isFolder(nearest)) nearest = dirname(nearest);
    accessSync(nearest, constants.W_OK | constants.X_OK);
    return exists;
  } catch (error) {
    throw asDataDirError(folder, error);
  }
}

function asDataDirError(folder: string, error: unknown): DataDirError {
  if (error instanceof DataDirError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  return new DataDirError(`DATA_DIR ${folder} can't be used: ${REASONS[code ?? ""] ?? message}`, code);
}

const REASONS: Record<string, string> = {
  EACCES: "this user may not make or open it",
  EPERM: "this user may not make it",
  EROFS: "its file system is read-only",
  ENOENT: "no folder can be made there",
  ENOTDIR: "a part of the path is not a folder",
  EEXIST: "it is not a folder",
  ELOOP: "a symbolic link in the path leads back to itself",
  ENAMETOOLONG: "the path is too long",
  ENOSPC: "the disk is full",
};

/** Makes the missing folders of a path. Node's recursive mkdir never returns on some file systems that refuse folders. */
function makeFolders(folder: string): void {
  const missing: string[] = [];
  for (let path = folder; !isFolder(path); path = dirname(path)) missing.push(path);
  for (const path of missing.reverse()) {
    try {
      mkdirSync(path, { mode: FOLDER_MODE });
    } catch (error) {
      // Another process may have been faster.
      if (!isFolder(path)) throw error;
    }
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

function requireOwn(folder: string): void {
  const user = currentUser();
  if (user === undefined) return;
  // If it is a link, its owner decides which folder is used.
  const link = lstatSync(folder);
  if (link.uid !== user && link.uid !== 0) throw foreign(folder, link, user);
  const found = statSync(folder);
  if (found.uid !== user) throw foreign(folder, found, user);
  if ((found.mode & OF_OTHERS) !== 0) {
    throw new DataDirError(
      `DATA_DIR ${folder} is open to other users (mode ${(found.mode & 0o7777).toString(8)}). ` +
        `Look for what they have left in it, then: chmod 700 ${quote(folder)}${orInside(folder)}`,
    );
  }
  for (const name of readdirSync(folder)) {
    const entry = lstatSync(join(folder, name), { throwIfNoEntry: false });
    if (entry && entry.uid !== user && entry.uid !== 0) throw foreign(join(folder, name), entry, user);
  }
}

function foreign(path: string, { uid }: Stats, user: number): DataDirError {
  return new DataDirError(
    `DATA_DIR: ${path} belongs to the user ${uid}, and this process runs as the user ${user}. ` +
      `Run it as that user, or, if you trust what is in it: chown -hR ${user} ${quote(path)}${orInside(path)}`,
  );
}

/** Advice for volumes whose owner and mode can't be changed. */
const orInside = (folder: string) =>
  `. Or set DATA_DIR to ${quote(join(folder, "kyc"))}, which the gateway makes for itself`;

const quote = (path: string) => (/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);
