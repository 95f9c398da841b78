import { SEALED_PLACES } from "../sealed-places.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { openKeyring } from "../sealing/open-keyring.ts";
import type { CommandScene } from "./command.ts";
import { say } from "./print.ts";

/** Opens the encryption keys as `openKeyring` does, and prints its warnings. */
export const openKeys = ({ config, db, by }: CommandScene): Promise<Keyring> =>
  openKeyring(config, db, SEALED_PLACES, say, by);
