import { join, resolve } from "node:path";
import { type Config, ConfigError } from "../config.ts";
import type { Database } from "../db/client.ts";
import { createKeyFile, mintKey, readKeyFile } from "./key-file.ts";
import { Keyring } from "./keyring.ts";
import type { SealedPlace } from "./place.ts";
import { findKeyFaults, registerNewestKey } from "./registry.ts";

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

/**
 * The keys for what this migrated database holds, known to it from then on: those of the environment or, for a
 * database on this machine, those of a file in the data folder, which is made where nothing is sealed yet. Fails with
 * a ConfigError that names each key that lacks or is another one than it was.
 */
export async function openKeyring(
  config: Settings,
  db: Database,
  places: readonly SealedPlace[],
  onWarning: (message: string) => void,
): Promise<Keyring> {
  requireKeySource(config);
  const file = keyFileOf(config);
  const source = config.encryptionKeys ? "ENCRYPTION_KEYS" : `the file ${file}`;
  const refuse = (faults: readonly string[]) => {
    if (faults.length > 0) throw new ConfigError(faults.map((fault) => `${source}: ${fault}`));
  };
  const known = config.encryptionKeys ?? (await readKeyFile(file));
  // Before a key is made: a new one in the place of one that was lost would hide the loss.
  refuse(await findKeyFaults(db, known && new Keyring(known), places));
  const keys = new Keyring(known ?? (await createKeyFile(file, [mintKey(Date.now())])));
  if (!config.encryptionKeys && config.databaseUrl !== undefined) {
    onWarning(`the encryption keys are in ${file}: set ENCRYPTION_KEYS before production`);
  }
  refuse(await registerNewestKey(db, keys, Date.now()));
  return keys;
}

function isLoopback(databaseUrl: string): boolean {
  const { hostname } = new URL(databaseUrl);
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}
