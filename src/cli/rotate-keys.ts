import { setTimeout as wait } from "node:timers/promises";
import { recordActForAll } from "../administration/record-act.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../db/client.ts";
import { withRetries } from "../db/retry.ts";
import { ownsRecords, refuseUnboundNumbers } from "../kyc/number/number-store.ts";
import { endPlainNumbers } from "../kyc/number/sealed-numbers.ts";
import { SEALED_PLACES } from "../sealed-places.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { KNOWN_WITHIN_MS, recordMilestone } from "../sealing/milestones.ts";
import { keyFileOf } from "../sealing/open-keyring.ts";
import { nameOf, type SealedPlace, type Unreadable } from "../sealing/place.ts";
import { forgetUnusedKeys } from "../sealing/registry.ts";
import { addSealCounts } from "../sealing/seal-counts.ts";
import { CommandFailure, type CommandScene } from "./command.ts";
import { countTexts, showProgress } from "./keys-progress.ts";
import { say } from "./print.ts";

/** The maximum number of passes. The first can miss texts that a gateway seals meanwhile, so passes repeat until one finds none. */
const MOST_PASSES = 3;
/** Stands for texts that are not encrypted, among the ids of keys, which contain no space. */
const NO_KEY = "no key";

/**
 * Afterwards everything is sealed under the newest key, and each document number is bound to the version of its record.
 * Fails with a CommandFailure if something can't be opened, or a gateway seals under another key; repeating is safe.
 */
export async function rotate(scene: CommandScene, keys: Keyring): Promise<void> {
  const { db, config, by } = scene;
  const isBinding = await startBinding(scene, keys);
  try {
    await resealAll(db, keys);
  } finally {
    await addSealCounts(db, keys);
  }
  const isSealed = await endPlainNumbers(db, keys, Date.now());
  if (isBinding && isSealed) await recordMilestone(db, keys, "numbers_bound", Date.now());
  const act = { action: "encryption_key_rotated", subject: keys.newestId, at: Date.now() } as const;
  await db.transaction((tx) => recordActForAll(tx, by, act));
  for (const id of await forgetUnusedKeys(db, keys, SEALED_PLACES, by)) {
    say(`${id} is forgotten: it has been removed, and nothing is sealed under it.`);
  }
  printUnneededKeys(keys, config);
}

/**
 * Afterwards gateways of this release bind each number that they write to the version of its record, and those of
 * earlier releases can't write numbers any more. Returns false if this role may not change the table.
 */
async function startBinding({ db, config, isGuest }: CommandScene, keys: Keyring): Promise<boolean> {
  if (keys.reached.has("numbers_bound")) return true;
  if (!(await ownsRecords(db))) {
    say(
      "Document numbers are not bound to versions of their records yet: the owner of the tables has to run this.",
    );
    return false;
  }
  await recordMilestone(db, keys, "numbers_bind", Date.now());
  if (isGuest || config.databaseUrl !== undefined) {
    say(
      `From now on document numbers are bound to versions: all gateways know it in ${KNOWN_WITHIN_MS / 1000} s.`,
    );
    await wait(KNOWN_WITHIN_MS);
  }
  await withRetries(() => db.transaction(refuseUnboundNumbers));
  return true;
}

async function resealAll(db: Database, keys: Keyring): Promise<void> {
  let resealed = 0;
  const unreadable: Unreadable[] = [];
  const stillNeeded = new Map<string, number>();
  for (const place of SEALED_PLACES) {
    const outcome = await resealInPasses(db, keys, place);
    resealed += outcome.resealed;
    unreadable.push(...outcome.unreadable);
    for (const [keyId, count] of await place.countByKey(db)) {
      const id = keyId ?? NO_KEY;
      if (id !== keys.newestId) stillNeeded.set(id, (stillNeeded.get(id) ?? 0) + count);
    }
  }
  say(`${resealed} sealed again under ${keys.newestId}.`);
  if (unreadable.length > 0) {
    const some = unreadable.slice(0, 10).map(nameOf).join(", ");
    throw new CommandFailure(`${unreadable.length} could not be opened; \`keys check\` lists all: ${some}`);
  }
  const [left] = stillNeeded;
  if (!left) return;
  const [id, count] = left;
  throw new CommandFailure(
    id === NO_KEY
      ? `${count} are not encrypted: a gateway of release 0.2 still writes them. Stop it, and repeat this`
      : `${count} are sealed under ${id} by a gateway that has it as its newest key: give it ${keys.newestId} first, and repeat this`,
  );
}

async function resealInPasses(db: Database, keys: Keyring, place: SealedPlace) {
  const progress = showProgress(place.name, await countTexts(db, place));
  try {
    const first = await place.reseal(db, keys, progress.step);
    let { resealed } = first;
    for (let pass = 1, last = resealed; last > 0 && pass < MOST_PASSES; pass++) {
      last = (await place.reseal(db, keys, () => {})).resealed;
      resealed += last;
    }
    return { resealed, unreadable: first.unreadable };
  } finally {
    progress.end();
  }
}

function printUnneededKeys(keys: Keyring, config: Config): void {
  const unneeded = keys.keyIds.filter((id) => id !== keys.newestId);
  const source = config.encryptionKeys ? "ENCRYPTION_KEYS" : keyFileOf(config);
  say(
    unneeded.length > 0
      ? `Nothing needs ${unneeded.join(", ")} any more: remove ${unneeded.length > 1 ? "them" : "it"} from ${source} at the next start.`
      : `${keys.newestId} is the only key.`,
  );
}
