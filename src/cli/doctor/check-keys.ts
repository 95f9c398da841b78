import { stat } from "node:fs/promises";
import { tokenMacs } from "../../auth/token-macs.ts";
import type { Config } from "../../config/config.ts";
import type { Database } from "../../db/client.ts";
import { isOpenToOthers } from "../../lib/private-files.ts";
import { SEALED_PLACES } from "../../sealed-places.ts";
import { readKeyList, requireOwnKeyFile } from "../../sealing/key-file.ts";
import { Keyring } from "../../sealing/keyring.ts";
import { readMilestones } from "../../sealing/milestones.ts";
import { keyFileOf, requireKeySource } from "../../sealing/open-keyring.ts";
import { findKeyFaults, listRegisteredKeys, type RegisteredKey } from "../../sealing/registry.ts";
import { MANY_SEALS, MOST_SEALS } from "../../sealing/seal-counts.ts";
import { Area, type Finding, type Stage } from "./finding.ts";

export const keyArea = new Area("keys");

/** Reads the configured keys, and checks their source. Fails with a ConfigError. */
export async function readKeys(config: Config): Promise<{ keys: Keyring | null; findings: Finding[] }> {
  requireKeySource(config);
  if (config.encryptionKeys) {
    return { keys: new Keyring(config.encryptionKeys), findings: [keyArea.ok("source", "ENCRYPTION_KEYS")] };
  }
  const file = keyFileOf(config);
  if (!config.encryptionKeysFile) await requireOwnKeyFile(file);
  const found = await stat(file).catch(() => undefined);
  if (!found && !config.encryptionKeysFile) {
    return { keys: null, findings: [keyArea.ok("source", `there is no ${file}: the first start makes it`)] };
  }
  const keys = new Keyring(await readKeyList(file));
  const findings: Finding[] = [];
  if (await isOpenToOthers(file)) {
    const mode = (Number(found?.mode) & 0o777).toString(8);
    findings.push(
      keyArea.warning(
        "source",
        `the mode of ${file} is ${mode}`,
        "chmod 600 it, unless its group is the gateway's alone",
      ),
    );
  } else findings.push(keyArea.ok("source", file));
  if (!config.encryptionKeysFile && config.databaseUrl !== undefined) {
    findings.push(
      keyArea.warning("source", `the keys are in ${file}`, "Set ENCRYPTION_KEYS before production"),
    );
  }
  return { keys, findings };
}

/**
 * The findings of a check with these keys. If some are bad and the key file has other keys by now, as during
 * `keys rotate --new`, the check is repeated with those.
 */
export async function checkWithKeys(
  config: Config,
  keys: Keyring | null,
  check: (keys: Keyring | null) => Promise<Finding[]>,
): Promise<Finding[]> {
  const findings = await check(keys);
  if (findings.every(({ state }) => state === "ok")) return findings;
  const present = await readKeys(config).catch(() => undefined);
  if (!present || String(present.keys?.keyIds) === String(keys?.keyIds)) return findings;
  return checkWithKeys(config, present.keys, check);
}

/** Compares the keys with those that are registered in the database. Opens no document number. */
export async function checkKeys(db: Database, keys: Keyring | null, stage: Stage): Promise<Finding[]> {
  if (stage === "empty") return [keyArea.ok("registered", "no gateway has started on the database yet")];
  const isCurrent = stage === "current";
  const registered = await (isCurrent ? listRegisteredKeys(db) : listKeysOfEarlierRelease(db));
  const faults = await findKeyFaults(db, keys, registered, isCurrent ? SEALED_PLACES : []);
  if (faults.length > 0) {
    const todo = "Give the gateway this key, from the backup of its keys: it does not start without it";
    return faults.map((fault) => keyArea.problem("registered", fault, todo));
  }
  if (!keys) return [];
  if (!isCurrent) {
    const found =
      "they are those that the database knows; what they seal is checked once the migrations have run";
    return [keyArea.ok("registered", found)];
  }
  const findings = registered
    .filter(({ id }) => keys.keyIds.includes(id))
    .map(({ id, seals }) => checkSeals(id, seals, keys.fingerprint(id)));
  if (!registered.some(({ id }) => id === keys.newestId)) {
    const fingerprint = keys.fingerprint(keys.newestId).slice(0, 12);
    findings.push(keyArea.ok(`key ${keys.newestId}`, `fingerprint ${fingerprint}, has sealed nothing yet`));
  }
  return findings;
}

/** The keys that are registered in the database of an earlier release, whose tables lack columns of this one. */
async function listKeysOfEarlierRelease(db: Database): Promise<RegisteredKey[]> {
  const [row] = await db.execute<{ known: boolean }>(
    "select to_regclass('encryption_keys') is not null as known",
  );
  if (!row?.known) return [];
  const rows = await db.execute<Pick<RegisteredKey, "id" | "fingerprint">>(
    "select id, fingerprint from encryption_keys order by created_at, id",
  );
  return rows.map(({ id, fingerprint }) => ({ id, fingerprint, createdAt: 0, seals: 0 }));
}

function checkSeals(id: string, seals: number, fingerprint: string): Finding {
  const found = `fingerprint ${fingerprint.slice(0, 12)}, has sealed about ${seals} of ${MOST_SEALS} texts`;
  const todo = "Change to a new key: docs/operations.md, Rotation";
  if (seals >= MOST_SEALS) return keyArea.problem(`key ${id}`, found, todo);
  return seals >= MANY_SEALS ? keyArea.warning(`key ${id}`, found, todo) : keyArea.ok(`key ${id}`, found);
}

/** Whether numbers of an earlier release are left that are plain, or not bound to versions of their records. */
export async function checkNumbers(db: Database, keys: Keyring | null): Promise<Finding[]> {
  if (!keys) return [];
  await readMilestones(db, keys);
  const [row] = await db.execute<{ plain: boolean }>(
    "select exists(select from kycs where document_number is not null) as plain",
  );
  const { reached } = keys;
  if (row?.plain && reached.has("numbers_sealed")) {
    const todo = "Find out who writes to the database: the gateway neither shows nor seals them";
    return [keyArea.problem("numbers", "there are plain document numbers, though all had been sealed", todo)];
  }
  if (row?.plain) {
    const todo = "Let the gateway run: it encrypts them while it serves";
    return [keyArea.warning("numbers", "an earlier release has left plain document numbers", todo)];
  }
  if (!reached.has("numbers_bound") && (await listRegisteredKeys(db)).length > 0) {
    const todo = "Run `kyc-gateway keys rotate` once no replica of an earlier release runs";
    return [keyArea.warning("numbers", "document numbers are not bound to versions of their records", todo)];
  }
  return [keyArea.ok("numbers", "none is plain or unbound")];
}

/** Whether somebody without the keys has written to the table of tokens. */
export async function checkTokens(db: Database, keys: Keyring | null): Promise<Finding[]> {
  if (!keys) return [];
  await readMilestones(db, keys);
  if (!keys.reached.has("tokens_authentic")) {
    return [keyArea.ok("tokens", "the first start of this release authenticates them")];
  }
  let count = 0;
  const forged = await tokenMacs.check(db, keys, (seen) => {
    count += seen;
  });
  if (forged.length === 0) return [keyArea.ok("tokens", `all ${count} are authentic`)];
  const ids = forged
    .slice(0, 10)
    .map(({ id }) => id)
    .join(", ");
  const todo =
    "Find out who writes to the database. The gateway refuses them; `token revoke` those that are known";
  return [keyArea.problem("tokens", `${forged.length} of ${count} are not authentic: ${ids}`, todo)];
}
