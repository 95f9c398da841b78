import { join, resolve } from "node:path";
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

/** The file with the keys that are not in the environment. */
export function keyFileOf(config: Pick<Settings, "dataDir" | "encryptionKeysFile">): string {
  return config.encryptionKeysFile
    ? resolve(config.encryptionKeysFile)
    : join(resolve(config.dataDir), "encryption-keys");
}

/**
 * Fails with a ConfigError where this database needs keys from the environment and there are none: a file on one
 * machine is no place for the keys of a database on another.
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

/** The configured keys, and what the database knows of keys. */
interface FoundKeys {
  /** Null: there are none yet. */
  keys: Keyring | null;
  registered: RegisteredKey[];
}

/**
 * The keys for what this migrated database holds: those of the environment, of the file that it names or, for a
 * database on this machine, of a file in the data folder. They know what the database has reached. Nothing is written.
 * Fails with a ConfigError that names each key that is missing, or is another one than it was.
 */
export async function findKeyring(
  config: Settings,
  db: Database,
  places: readonly SealedPlace[],
): Promise<FoundKeys> {
  requireKeySource(config);
  // Before the keys: another start registers what it has written to the file.
  const registered = await listRegisteredKeys(db);
  const keys = await readKeys(config);
  refuse(config, await findKeyFaults(db, keys, registered, places));
  if (keys) await readMilestones(db, keys);
  return { keys, registered };
}

/**
 * The same keys, the newest registered in the database from then on. The file is made if there is none and the database
 * knows no key yet. Of first starts at the same time with different keys, one goes on and the others fail. Afterwards
 * the database is prepared for this release, and the keys know what it has reached.
 */
export async function openKeyring(
  config: Settings,
  db: Database,
  places: readonly SealedPlace[],
  onWarning: (message: string) => void,
): Promise<Keyring> {
  // All records may be read for it, for which no other start should wait.
  await findKeyring(config, db, places);
  const file = keyFileOf(config);
  const now = Date.now();
  const keys = await registerNewestKey(db, now, async (registered, tx) => {
    const known = await readKeys(config, onWarning);
    refuse(config, await findKeyFaults(db, known, registered, []));
    const keys = known ?? new Keyring(await createKeyFile(file, [mintKey(now)]));
    await readMilestones(tx, keys);
    const start = { isFirst: registered.length === 0, now, onWarning };
    for (const place of places) await place.settle?.(tx, keys, start);
    return keys;
  });
  const isMadeHere = !config.encryptionKeys && !config.encryptionKeysFile;
  if (isMadeHere && config.databaseUrl !== undefined) {
    onWarning(`the encryption keys are in ${file}: set ENCRYPTION_KEYS before production`);
  }
  return keys;
}

/** The configured keys; null: none, and there is no key file yet. */
async function readKeys(config: Settings, onWarning?: (message: string) => void): Promise<Keyring | null> {
  if (config.encryptionKeys) return new Keyring(config.encryptionKeys);
  const file = keyFileOf(config);
  // The owner of one that the operator names can be anybody, such as a user outside of the container.
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
