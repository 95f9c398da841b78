import { join, resolve } from "node:path";
import { type Config, ConfigError } from "../config.ts";
import type { Database } from "../db/client.ts";
import { createKeyFile, mintKey, readKeyFile } from "./key-file.ts";
import { Keyring } from "./keyring.ts";
import type { SealedPlace } from "./place.ts";
import { findKeyFaults, listRegisteredKeys, type RegisteredKey, registerNewestKey } from "./registry.ts";

type Settings = Pick<Config, "databaseUrl" | "dataDir" | "encryptionKeys">;

const HOW_TO_MAKE_ONE = "ENCRYPTION_KEYS=2026:$(openssl rand -base64 32)";

/** Where the keys lie that are not in the environment. */
export function keyFileOf(config: Pick<Config, "dataDir">): string {
  return join(resolve(config.dataDir), "encryption-keys");
}

/**
 * Fails with a ConfigError where this database needs keys from the environment and there are none: a file on one
 * machine is no place for the keys of a database on another.
 */
export function requireKeySource({ encryptionKeys, databaseUrl }: Settings): void {
  if (encryptionKeys || databaseUrl === undefined || isLoopback(databaseUrl)) return;
  throw new ConfigError([
    `ENCRYPTION_KEYS is not set, and document numbers are stored encrypted: make a key with ${HOW_TO_MAKE_ONE}, and keep it as safe as the database`,
  ]);
}

/** The configured keys, and what the database knows of keys. */
interface FoundKeys {
  /** Null: none is configured, and there is no key file yet. */
  keys: Keyring | null;
  registered: RegisteredKey[];
}

/**
 * The keys for what this migrated database holds: those of the environment or, for a database on this machine, those
 * of a file in the data folder. Nothing is written. Fails with a ConfigError that names each key that lacks or is
 * another one than it was.
 */
export async function findKeyring(
  config: Settings,
  db: Database,
  places: readonly SealedPlace[],
): Promise<FoundKeys> {
  requireKeySource(config);
  const known = config.encryptionKeys ?? (await readKeyFile(keyFileOf(config)));
  const keys = known && new Keyring(known);
  const registered = await listRegisteredKeys(db);
  refuse(config, await findKeyFaults(db, keys, registered, places));
  return { keys, registered };
}

/**
 * The same keys, the newest known to the database from then on. The file is made where there is none and nothing is
 * sealed yet. Fails also where another process began with keys that these lack while this one did.
 */
export async function openKeyring(
  config: Settings,
  db: Database,
  places: readonly SealedPlace[],
  onWarning: (message: string) => void,
): Promise<Keyring> {
  // Before a key is made: a new one in the place of one that was lost would hide the loss.
  const { keys: known, registered: before } = await findKeyring(config, db, places);
  const file = keyFileOf(config);
  const keys = known ?? new Keyring(await createKeyFile(file, [mintKey(Date.now())]));
  if (!config.encryptionKeys && config.databaseUrl !== undefined) {
    onWarning(`the encryption keys are in ${file}: set ENCRYPTION_KEYS before production`);
  }
  await registerNewestKey(db, keys, Date.now());
  const meanwhile = (await listRegisteredKeys(db)).filter(({ id }) => !before.some((key) => key.id === id));
  refuse(config, await findKeyFaults(db, keys, meanwhile, places));
  // Two machines with a file each: what one of them sealed the other could not open.
  if (!known && before.length === 0) {
    refuse(config, meanwhile.filter(({ id }) => !keys.keyIds.includes(id)).map(isOfAnotherStart));
  }
  return keys;
}

function refuse(config: Settings, faults: readonly string[]): void {
  if (faults.length === 0) return;
  const source = config.encryptionKeys ? "ENCRYPTION_KEYS" : `the file ${keyFileOf(config)}`;
  throw new ConfigError(faults.map((fault) => `${source}: ${fault}`));
}

const isOfAnotherStart = ({ id }: RegisteredKey) =>
  `the key "${id}" is missing, with which another gateway began at the same time: give both the same keys`;

function isLoopback(databaseUrl: string): boolean {
  const { hostname } = new URL(databaseUrl);
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}
