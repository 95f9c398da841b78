import { join, resolve } from "node:path";
import type { Administrator } from "../administration/record-act.ts";
import type { Database } from "../db/client.ts";
import { isLoopback, readServerAddress } from "../db/pool/server-address.ts";
import type { DatabaseConfig } from "../db/settings.ts";
import { ConfigError } from "../lib/settings.ts";
import { createKeyFile, mintKey, readKeyFile, requireOwnKeyFile } from "./key-file.ts";
import { Keyring } from "./keyring.ts";
import { readMilestones } from "./milestones.ts";
import type { SealedPlace } from "./place.ts";
import { findKeyFaults, listRegisteredKeys, type RegisteredKey, registerNewestKey } from "./registry.ts";
import type { SealingConfig } from "./settings.ts";

type Settings = Pick<DatabaseConfig, "databaseUrl" | "dataDir"> & SealingConfig;

const HOW_TO_MAKE_ONE = "ENCRYPTION_KEYS=2026:$(openssl rand -base64 32)";

/** The path of the key file, which is used if the environment has no keys. */
export function keyFileOf(config: Pick<Settings, "dataDir" | "encryptionKeysFile">): string {
  return config.encryptionKeysFile
    ? resolve(config.encryptionKeysFile)
    : join(resolve(config.dataDir), "encryption-keys");
}

/**
 * Fails with a ConfigError if keys must be configured for this database and are not: the keys of a database on another
 * machine should not be only in a local file.
 */
export function requireKeySource({ encryptionKeys, encryptionKeysFile, databaseUrl }: Settings): void {
  if (
    encryptionKeys ||
    encryptionKeysFile ||
    databaseUrl === undefined ||
    isLoopback(readServerAddress(databaseUrl, process.env))
  )
    return;
  throw new ConfigError([
    `ENCRYPTION_KEYS is not set, nor ENCRYPTION_KEYS_FILE, and document numbers are stored encrypted: make a key with ${HOW_TO_MAKE_ONE}, and keep it as safe as the database`,
  ]);
}

/** The configured keys and the keys that are registered in the database. */
interface FoundKeys {
  /** Null: there are none yet. */
  keys: Keyring | null;
  registered: RegisteredKey[];
}

/**
 * Reads the keys of this migrated database, with its milestones: from the environment, from the file that the environment
 * names or, for a database on this machine, from a file in the data folder. Writes nothing. Fails with a ConfigError that
 * names each key that is missing or differs from the registered one.
 */
export async function findKeyring(
  config: Settings,
  db: Database,
  places: readonly SealedPlace[],
): Promise<FoundKeys> {
  requireKeySource(config);
  // Read these before the keys: another gateway that starts now writes its key to the file first and then registers it.
  const registered = await listRegisteredKeys(db);
  const keys = await readKeys(config);
  refuse(config, await findKeyFaults(db, keys, registered, places));
  if (keys) await readMilestones(db, keys);
  return { keys, registered };
}

/**
 * As `findKeyring`, and afterwards the newest key is registered and the database is prepared for this release. The key
 * file is created if there is none and the database has no registered key. If several gateways start for the first time
 * with different keys, one succeeds and the others fail. The trail gets an event of a new key, by `by`.
 */
export async function openKeyring(
  config: Settings,
  db: Database,
  places: readonly SealedPlace[],
  onWarning: (message: string) => void,
  by: Administrator | null,
): Promise<Keyring> {
  // Check first, outside the lock: this can read all records, and no other start should wait for that.
  await findKeyring(config, db, places);
  const file = keyFileOf(config);
  const now = Date.now();
  const keys = await registerNewestKey(
    db,
    now,
    async (registered, tx) => {
      const known = await readKeys(config, onWarning);
      refuse(config, await findKeyFaults(db, known, registered, []));
      const keys = known ?? new Keyring(await createKeyFile(file, [mintKey(now)]));
      await readMilestones(tx, keys);
      const start = { isFirst: registered.length === 0, now, onWarning };
      for (const place of places) await place.settle?.(tx, keys, start);
      return keys;
    },
    by,
  );
  const isMadeHere = !config.encryptionKeys && !config.encryptionKeysFile;
  if (isMadeHere && config.databaseUrl !== undefined) {
    onWarning(`the encryption keys are in ${file}: set ENCRYPTION_KEYS before production`);
  }
  return keys;
}

/** The configured keys; null if none are configured and there is no key file. */
async function readKeys(config: Settings, onWarning?: (message: string) => void): Promise<Keyring | null> {
  if (config.encryptionKeys) return new Keyring(config.encryptionKeys);
  const file = keyFileOf(config);
  // A file that the operator names may belong to any user, for example to one outside the container.
  if (!config.encryptionKeysFile) await requireOwnKeyFile(file);
  const known = await readKeyFile(file, onWarning);
  if (!known && config.encryptionKeysFile)
    throw new ConfigError([`ENCRYPTION_KEYS_FILE: there is no file ${file}`]);
  return known && new Keyring(known);
}

function refuse(config: Settings, faults: readonly string[]): void {
  if (faults.length === 0) return;
  const source = config.encryptionKeys ? "ENCRYPTION_KEYS" : `the file ${keyFileOf(config)}`;
  throw new ConfigError(faults.map((fault) => `${source}: ${fault}`));
}
