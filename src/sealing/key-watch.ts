import { unwatchFile, watchFile } from "node:fs";
import { readKeyFile } from "./key-file.ts";
import type { Keyring } from "./keyring.ts";

/** How often the file is looked at. Milliseconds. */
const LOOK_EVERY = 500;
/** By when whoever watches the file has seen a change. Milliseconds. */
export const SEEN_WITHIN = 4 * LOOK_EVERY;

/**
 * Gives the keyring the keys of the file each time that another process has changed it, until the function that comes
 * back is called. What the file has no more stays known until the next start.
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
  watchFile(file, { interval: LOOK_EVERY, persistent: false }, look);
  return () => unwatchFile(file, look);
}
