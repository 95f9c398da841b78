import { setTimeout as wait } from "node:timers/promises";
import { SingleBar } from "cli-progress";
import { Command, Option } from "commander";
import { CommandFailure, type CommandScene, print, printTable, say, withKnownDatabase } from "./command.ts";
import type { Config } from "./config.ts";
import type { Database } from "./db/client.ts";
import { SEALED_PLACES } from "./sealed-places.ts";
import { mintKey, readKeyFile, replaceKeyFile } from "./sealing/key-file.ts";
import { SEEN_WITHIN } from "./sealing/key-watch.ts";
import type { Keyring } from "./sealing/keyring.ts";
import { findKeyring, keyFileOf, openKeyring, requireKeySource } from "./sealing/open-keyring.ts";
import type { SealedPlace } from "./sealing/place.ts";
import { forgetUnusedKeys, isUsed } from "./sealing/registry.ts";

/** Ways through a place until nothing is found any more: what a gateway has sealed meanwhile lies behind the first. */
const MOST_WAYS = 3;
/** Between two lines that tell how far it is, where there is no terminal. Milliseconds. */
const SAY_EVERY = 5000;

/** `keys list` and `keys rotate`. */
export function keysCommands(): Command {
  const keys = new Command("keys").description("list the encryption keys, and change to a new one");
  keys
    .command("list")
    .description("list the keys, and how much each of them seals")
    .addOption(new Option("--json", "print JSON").default(false))
    .action(async ({ json }: { json: boolean }) => {
      const rows = await withKnownDatabase(listKeys, requireKeySource);
      if (json) print(JSON.stringify(rows, null, 2));
      else printKeys(rows);
    });
  keys
    .command("rotate")
    .description(
      "seal everything under the newest key, while gateways serve; it may be interrupted and repeated",
    )
    .addOption(
      new Option("--new", "first make a new key in the key file of the embedded database").default(false),
    )
    .action(async ({ new: makeNew }: { new: boolean }) => {
      await withKnownDatabase(
        async (scene) => {
          if (makeNew) await addKey(scene);
          await rotate(scene, await openKeyring(scene.config, scene.db, SEALED_PLACES, say));
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
  /** Null: it has sealed nothing yet. */
  firstUsed: string | null;
  fingerprint: string;
  /** How much it seals, by what that is. */
  seals: Record<string, number>;
}

async function listKeys({ config, db }: CommandScene): Promise<KeyRow[]> {
  const { keys, registered } = await findKeyring(config, db, SEALED_PLACES);
  if (!keys) return [];
  const firstUses = new Map(registered.map((key) => [key.id, key.createdAt]));
  const counts: [string, Map<string | null, number>][] = [];
  for (const place of SEALED_PLACES) counts.push([place.name, await place.countByKey(db)]);
  for (const [name, count] of counts) {
    const plain = count.get(null);
    if (plain) say(`${plain} ${name} of an earlier release are not sealed yet.`);
  }
  return keys.keyIds.map((id) => {
    const since = firstUses.get(id);
    return {
      id,
      newest: id === keys.newestId,
      firstUsed: since === undefined ? null : new Date(since).toISOString(),
      fingerprint: keys.fingerprint(id),
      seals: Object.fromEntries(counts.map(([name, count]) => [name, count.get(id) ?? 0])),
    };
  });
}

function printKeys(rows: readonly KeyRow[]): void {
  const names = SEALED_PLACES.map(({ name }) => name);
  printTable(
    ["id", "", "first used", "fingerprint", ...names],
    rows.map(({ id, newest, firstUsed, fingerprint, seals }) => [
      ...[id, newest ? "newest" : ""],
      ...[firstUsed === null ? "never" : new Date(firstUsed), fingerprint.slice(0, 12)],
      ...names.map((name) => String(seals[name] ?? 0)),
    ]),
  );
}

function requireKeyFile({ encryptionKeys, encryptionKeysFile, databaseUrl }: Config): void {
  if (!encryptionKeys && !encryptionKeysFile && databaseUrl === undefined) return;
  const place = encryptionKeysFile ? "the file of ENCRYPTION_KEYS_FILE" : "ENCRYPTION_KEYS";
  throw new CommandFailure(
    `--new is for the key file of the embedded database: put the new key first in ${place} instead`,
  );
}

/**
 * Afterwards the newest key of the file, which has to fit the database, has sealed nothing: one that has not, as a
 * command leaves it that was ended too early, is new enough. A gateway that serves meanwhile knows it by then.
 */
async function addKey({ config, db, isGuest }: CommandScene): Promise<void> {
  const { keys } = await findKeyring(config, db, SEALED_PLACES);
  // Without a file the start of any command makes one, with a key that is as new.
  if (!keys) return;
  if (await isUsed(db, keys.newestId, SEALED_PLACES)) {
    const file = keyFileOf(config);
    await replaceKeyFile(file, [mintKey(Date.now()), ...((await readKeyFile(file)) ?? [])]);
  } else say(`${keys.newestId} has sealed nothing yet: it is taken as the new key.`);
  if (isGuest) await wait(SEEN_WITHIN);
}

async function rotate({ db, config }: CommandScene, keys: Keyring): Promise<void> {
  let resealed = 0;
  const unreadable: string[] = [];
  const stillNeeded = new Map<string, number>();
  for (const place of SEALED_PLACES) {
    const outcome = await resealPlace(db, keys, place);
    resealed += outcome.resealed;
    unreadable.push(...outcome.unreadable);
    for (const [keyId, count] of await place.countByKey(db)) {
      const id = keyId ?? "no key";
      if (id !== keys.newestId) stillNeeded.set(id, (stillNeeded.get(id) ?? 0) + count);
    }
  }
  say(`${resealed} sealed anew under ${keys.newestId}.`);
  if (unreadable.length > 0) {
    throw new CommandFailure(
      `${unreadable.length} could not be opened: ${unreadable.slice(0, 10).join(", ")}`,
    );
  }
  for (const [id, count] of stillNeeded) {
    throw new CommandFailure(
      `${count} are sealed under ${id} by a gateway that has it as its newest key: give it ${keys.newestId} first, and repeat this`,
    );
  }
  for (const id of await forgetUnusedKeys(db, keys, SEALED_PLACES)) {
    say(`${id} is forgotten: it has been removed, and nothing is sealed under it.`);
  }
  const idle = keys.keyIds.filter((id) => id !== keys.newestId);
  const source = config.encryptionKeys ? "ENCRYPTION_KEYS" : keyFileOf(config);
  say(
    idle.length > 0
      ? `Nothing needs ${idle.join(", ")} any more: remove ${idle.length > 1 ? "them" : "it"} from ${source} at the next start.`
      : `${keys.newestId} is the only key.`,
  );
}

async function resealPlace(db: Database, keys: Keyring, place: SealedPlace) {
  const total = [...(await place.countByKey(db)).values()].reduce((sum, count) => sum + count, 0);
  const progress = showProgress(place.name, total);
  try {
    const first = await place.reseal(db, keys, progress.step);
    let { resealed } = first;
    for (let way = 1, last = resealed; last > 0 && way < MOST_WAYS; way++) {
      last = (await place.reseal(db, keys, () => {})).resealed;
      resealed += last;
    }
    return { resealed, unreadable: first.unreadable };
  } finally {
    progress.end();
  }
}

/** A bar on a terminal, and a line from time to time elsewhere. */
function showProgress(name: string, total: number): { step: (seen: number) => void; end: () => void } {
  if (process.stderr.isTTY) {
    const bar = new SingleBar({
      format: `${name} {bar} {percentage}% | {value} of {total} | {eta_formatted} left`,
      stream: process.stderr,
    });
    bar.start(total, 0);
    return { step: (seen) => bar.increment(seen), end: () => bar.stop() };
  }
  let done = 0;
  let saidAt = performance.now();
  return {
    step: (seen) => {
      done += seen;
      if (performance.now() - saidAt < SAY_EVERY) return;
      saidAt = performance.now();
      say(`${name}: ${done} of ${total}`);
    },
    end: () => {},
  };
}
