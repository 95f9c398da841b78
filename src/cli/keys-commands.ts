import { setTimeout as wait } from "node:timers/promises";
import { Command, Option } from "commander";
import type { Config } from "../config/config.ts";
import { SEALED_PLACES } from "../sealed-places.ts";
import { mintKey, readKeyFile, replaceKeyFile } from "../sealing/key-file.ts";
import { SEEN_WITHIN_MS } from "../sealing/key-watch.ts";
import { findKeyring, keyFileOf, requireKeySource } from "../sealing/open-keyring.ts";
import type { Unreadable } from "../sealing/place.ts";
import { isUsed } from "../sealing/registry.ts";
import { MANY_SEALS } from "../sealing/seal-counts.ts";
import { CommandFailure, type CommandScene, withKnownDatabase } from "./command.ts";
import { countTexts, showProgress } from "./keys-progress.ts";
import { openKeys } from "./open-keys.ts";
import { print, printTable, say } from "./print.ts";
import { rotate } from "./rotate-keys.ts";

/** `keys list`, `keys check` and `keys rotate`. */
export function keysCommands(): Command {
  const keys = new Command("keys").description(
    "list the encryption keys, check what is encrypted with them, and change to a new one",
  );
  keys
    .command("list")
    .description("list the keys, and how much is encrypted with each")
    .addOption(new Option("--json", "print JSON").default(false))
    .action(async ({ json }: { json: boolean }) => {
      const rows = await withKnownDatabase(listKeys, requireKeySource);
      if (json) print(JSON.stringify(rows, null, 2));
      else printKeys(rows);
    });
  keys
    .command("check")
    .description("decrypt everything, and list what can't be decrypted; exits with 1 if there is anything")
    .addOption(new Option("--json", "print JSON").default(false))
    .action(({ json }: { json: boolean }) =>
      withKnownDatabase((scene) => check(scene, json), requireKeySource),
    );
  keys
    .command("rotate")
    .description(
      "encrypt everything with the newest key, while gateways serve; may be interrupted and repeated",
    )
    .addOption(
      new Option("--new", "first make a new key in the key file of the embedded database").default(false),
    )
    .action(async ({ new: makeNew }: { new: boolean }) => {
      await withKnownDatabase(
        async (scene) => {
          if (makeNew) await addKey(scene);
          await rotate(scene, await openKeys(scene));
        },
        (config) => {
          requireKeySource(config);
          if (makeNew) requireKeyFile(config);
        },
      );
    });
  return keys;
}

interface KeyRow {
  id: string;
  newest: boolean;
  /** Null if it has sealed nothing yet. */
  firstUsed: string | null;
  fingerprint: string;
  /** How many texts it seals, by kind. */
  seals: Record<string, number>;
  /** About how much it has sealed so far. */
  sealedSoFar: number;
}

async function listKeys({ config, db }: CommandScene): Promise<KeyRow[]> {
  const { keys, registered } = await findKeyring(config, db, SEALED_PLACES);
  if (!keys) return [];
  const known = new Map(registered.map((key) => [key.id, key]));
  const counts: [string, Map<string | null, number>][] = [];
  for (const place of SEALED_PLACES) counts.push([place.name, await place.countByKey(db)]);
  for (const [name, count] of counts) {
    const plain = count.get(null);
    if (plain)
      say(`${plain} ${name} are under no key: an earlier release wrote them, or somebody without a key.`);
  }
  return keys.keyIds.map((id) => {
    const { createdAt: since, seals: sealedSoFar = 0 } = known.get(id) ?? {};
    if (sealedSoFar >= MANY_SEALS) say(`${id} has sealed half of what a key may: change to a new one.`);
    return {
      id,
      newest: id === keys.newestId,
      firstUsed: since === undefined ? null : new Date(since).toISOString(),
      fingerprint: keys.fingerprint(id),
      seals: Object.fromEntries(counts.map(([name, count]) => [name, count.get(id) ?? 0])),
      sealedSoFar,
    };
  });
}

function printKeys(rows: readonly KeyRow[]): void {
  const names = SEALED_PLACES.map(({ name }) => name);
  printTable(
    ["id", "", "first used", "fingerprint", ...names, "sealed so far"],
    rows.map(({ id, newest, firstUsed, fingerprint, seals, sealedSoFar }) => [
      ...[id, newest ? "newest" : ""],
      ...[firstUsed === null ? "never" : new Date(firstUsed), fingerprint.slice(0, 12)],
      ...[...names.map((name) => seals[name] ?? 0), sealedSoFar].map(String),
    ]),
  );
}

/** Prints which texts can't be opened, never their contents. Fails if there are any. */
async function check(scene: CommandScene, json: boolean): Promise<void> {
  const { db } = scene;
  const keys = await openKeys(scene);
  const unreadable: Unreadable[] = [];
  for (const place of SEALED_PLACES) {
    const progress = showProgress(place.name, await countTexts(db, place));
    try {
      unreadable.push(...(await place.check(db, keys, progress.step)));
    } finally {
      progress.end();
    }
  }
  if (json) print(JSON.stringify(unreadable, null, 2));
  else if (unreadable.length > 0) {
    const rows = unreadable.map(({ kind, account, id, why }) => [kind, account ?? "", id, why]);
    printTable(["what", "account", "id", "why"], rows);
  }
  if (unreadable.length > 0) throw new CommandFailure(`${unreadable.length} can't be opened`);
  say("Everything can be opened.");
}

function requireKeyFile({ encryptionKeys, encryptionKeysFile, databaseUrl }: Config): void {
  if (!encryptionKeys && !encryptionKeysFile && databaseUrl === undefined) return;
  const place = encryptionKeysFile ? "the file of ENCRYPTION_KEYS_FILE" : "ENCRYPTION_KEYS";
  throw new CommandFailure(
    `--new is for the key file of the embedded database: put the new key first in ${place} instead`,
  );
}

/**
 * Afterwards the newest key of the file has sealed nothing, and running gateways have read it. A key that has sealed nothing
 * yet, which an interrupted command can leave, is not replaced. The file's keys must be those of the database.
 */
async function addKey({ config, db, isGuest }: CommandScene): Promise<void> {
  const { keys } = await findKeyring(config, db, SEALED_PLACES);
  // Without a file, each command creates one with a new key at its start.
  if (!keys) return;
  if (await isUsed(db, keys.newestId, SEALED_PLACES)) {
    const file = keyFileOf(config);
    await replaceKeyFile(file, [mintKey(Date.now()), ...((await readKeyFile(file)) ?? [])]);
  } else say(`${keys.newestId} has sealed nothing yet: it is taken as the new key.`);
  if (isGuest) await wait(SEEN_WITHIN_MS);
}
