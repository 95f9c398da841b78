import { unwatchFile, watchFile } from "node:fs";
import { readKeyFile } from "./key-file.ts";
import type { Keyring } from "./keyring.ts";

/** How often the file is checked. */
const LOOK_EVERY_MS = 500;
/** Within this time every process that watches the file has seen a change. */
export const SEEN_WITHIN_MS = 4 * LOOK_EVERY_MS;

/**
 * Adds the keys of the file to the keyring whenever the file changes, until the returned function is called. Keys that
 * were removed from the file stay in the keyring until the next start.
 */
export function watchKeyFile(
  file: string,
  keys: Keyring,
  { onNewest, onFailure }: { onNewest(keyId: string): void; onFailure(error: unknown): void },
): () => void {
  const look = () => {
    readKeyFile(file).then((known) => {
      const before = keys.newestId;
      if (known) keys.adopt(known);
      if (keys.newestId !== before) onNewest(keys.newestId);
    }, onFailure);
  };
  watchFile(file, { interval: LOOK_EVERY_MS, persistent: false }, look);
  return () => unwatchFile(file, look);
}
