import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { DataDirError } from "./data-dir.ts";

/** How long to wait for a lock: `findLockHolder` of another process holds a free one for an instant. Milliseconds. */
const INSTANT_MS = 50;

/** The process that has a folder locked, as its lock file says. */
interface Holder {
  /** Empty if it is not known. */
  pid: string;
  /** Whether it keeps the folder until it is stopped. A command has it for the moment. */
  isGateway: boolean;
}

/** Another process has the data folder open. */
export class DataDirInUseError extends Error {
  override readonly name = "DataDirInUseError";
  readonly isGateway: boolean;

  constructor(folder: string, { pid, isGateway }: Holder) {
    super(
      `The data folder ${folder} is in use by ${pid === "" ? "another process" : `the process ${pid}`}, and only one ` +
        "process at a time can have it open. Stop that process first, or set DATA_DIR to another folder.",
    );
    this.isGateway = isGateway;
  }
}

const GATEWAY = "gateway";

/**
 * Takes the exclusive lock of a folder and returns the function that releases it. The folder must exist, and only this
 * user may have access. Until the release nothing else gets the lock, in this process or another; the operating system
 * releases it if this process dies. Other processes learn `isGateway` from the lock file. Fails with a DataDirInUseError if
 * the lock is taken, and with a DataDirError if the lock's name belongs to something other than a file.
 */
export async function lockFolder(folder: string, { isGateway = false } = {}): Promise<() => void> {
  // @ts-expect-error: the package has no type declarations
  const { tryLock } = (await import("fs-native-extensions")) as { tryLock(fd: number): boolean };
  // The lock lasts while this file is open. A plain descriptor is not garbage-collected. The file is never deleted:
  // otherwise two processes could lock two files of the same name.
  const file = join(folder, "lock");
  const fd = openLockFile(file);
  try {
    if (!fstatSync(fd).isFile()) throw new DataDirError(`${file} is not a plain file: remove it`);
    if (!tryLock(fd)) {
      await wait(INSTANT_MS);
      if (!tryLock(fd)) throw new DataDirInUseError(folder, readHolder(fd));
    }
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}${isGateway ? ` ${GATEWAY}` : ""}\n`, 0);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return () => closeSync(fd);
}

/** The process that has a folder locked; undefined if none has. Nothing is changed. */
export async function findLockHolder(folder: string): Promise<Holder | undefined> {
  const file = join(resolve(folder), "lock");
  if (!existsSync(file)) return undefined;
  // @ts-expect-error: the package has no type declarations
  const { tryLock } = (await import("fs-native-extensions")) as { tryLock(fd: number): boolean };
  const fd = openLockFile(file, 0);
  try {
    return tryLock(fd) ? undefined : readHolder(fd);
  } finally {
    closeSync(fd);
  }
}

/** When a folder was last locked, in nanoseconds since 1970; undefined if it never was. */
export async function lastLockedAt(folder: string): Promise<bigint | undefined> {
  const found = await stat(join(resolve(folder), "lock"), { bigint: true }).catch(() => undefined);
  return found?.mtimeNs;
}

function readHolder(fd: number): Holder {
  const [pid = "", kind] = readFileSync(fd, "utf8").trim().split(" ");
  return { pid, isGateway: kind === GATEWAY };
}

function openLockFile(file: string, create: number = constants.O_CREAT): number {
  try {
    // Without O_NONBLOCK, a pipe of this name could block the start.
    const flags = constants.O_RDWR | create | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    return openSync(file, flags, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ELOOP") throw error;
    throw new DataDirError(`${file} is a symbolic link, which the gateway did not make: remove it`);
  }
}
