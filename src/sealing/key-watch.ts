import { stat } from "node:fs/promises";
import { setTimeout as wait } from "node:timers/promises";
import { readKeyFile } from "./key-file.ts";
import type { Keyring } from "./keyring.ts";

/** How often the file is checked. */
const LOOK_EVERY_MS = 500;
/** Within this time every process that watches the file has seen a change. */
export const SEEN_WITHIN_MS = 4 * LOOK_EVERY_MS;

/**
 * Adds the keys of the file to the keyring now and whenever the file changes, until the returned function is called. Keys
 * that were removed from the file stay in the keyring until the next start. `onFailure` gets one error for each change
 * that can't be read.
 */
export function watchKeyFile(
  file: string,
  keys: Keyring,
  { onNewest, onFailure }: { onNewest(keyId: string): void; onFailure(error: unknown): void },
): () => void {
  /** The version of the file that was read. Undefined at first: the file may have changed since the keyring was opened. */
  let read: string | undefined;
  let failed: string | undefined;
  const look = async () => {
    // It is taken before the file is read, so a change during the reading is noticed next time.
    const version = await versionOf(file);
    if (version === read) {
      failed = undefined;
      return;
    }
    try {
      const known = await readKeyFile(file);
      const before = keys.newestId;
      if (known) keys.adopt(known);
      if (keys.newestId !== before) onNewest(keys.newestId);
      read = version;
      failed = undefined;
    } catch (error) {
      if (version !== failed) onFailure(error);
      failed = version;
    }
  };
  const stopped = new AbortController();
  const watch = async () => {
    while (!stopped.signal.aborted) {
      await look();
      await wait(LOOK_EVERY_MS, undefined, { ref: false });
    }
  };
  void watch();
  return () => stopped.abort();
}

/** Differs after each change of the file's contents. Reading it can change its mode, and thereby its ctime. */
async function versionOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs } = await stat(file, { bigint: true });
    return [dev, ino, size, mtimeNs].join();
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
