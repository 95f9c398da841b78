import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Another process holds the data folder. */
export class DataDirInUseError extends Error {
  override readonly name = "DataDirInUseError";
}

/**
 * Takes the exclusive lock of a data folder, which must exist, and returns the function that gives it back. Until
 * then nobody else gets it, in this process or another; the operating system gives it back when this process dies.
 * Fails with DataDirInUseError where somebody holds it.
 */
export async function lockFolder(folder: string): Promise<() => void> {
  // @ts-expect-error: the package has no type declarations
  const { tryLock } = (await import("fs-native-extensions")) as { tryLock(fd: number): boolean };
  // The lock lives as long as this file is open, so a plain descriptor holds it: nothing collects that. The file
  // stays when the lock is given back: deleting it would let two processes lock two files of one name.
  const fd = openSync(join(folder, "lock"), constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    if (!tryLock(fd)) throw inUse(folder, readFileSync(fd, "utf8").trim());
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`, 0);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return () => closeSync(fd);
}

function inUse(folder: string, pid: string): DataDirInUseError {
  const holder = pid === "" ? "another process" : `the process ${pid}`;
  return new DataDirInUseError(
    `The data folder ${folder} is in use by ${holder}, and only one process at a time can have it open. ` +
      "Stop that process first, or set DATA_DIR to another folder.",
  );
}
