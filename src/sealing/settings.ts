import { z } from "zod";
import { setting, type ValuesOf } from "../lib/settings.ts";
import { parseKeys } from "./key-list.ts";

const keyList = z.string().transform((list, context) => {
  const { keys, faults } = parseKeys(list.split(","));
  for (const message of faults) context.addIssue({ code: "custom", message });
  return keys;
});

export const sealingSettings = {
  /** Newest first; undefined: those of a file. */
  encryptionKeys: setting("ENCRYPTION_KEYS", keyList.optional()),
  /** The path of the file; undefined: the one in `dataDir`. */
  encryptionKeysFile: setting("ENCRYPTION_KEYS_FILE", z.string().optional()),
};
export type SealingConfig = Partial<ValuesOf<typeof sealingSettings>>;
