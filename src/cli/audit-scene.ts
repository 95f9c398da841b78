import { setTimeout as wait } from "node:timers/promises";
import { type DigestCustomer, openCustomerDigests } from "../audit/customer-digest.ts";
import { sealOnce } from "../ledger/seal.ts";
import { signedHeadsOf } from "../ledger/signed-heads.ts";
import { type LogKeys, openLogKeys } from "../ledger/signing-keys.ts";
import type { CommandScene } from "./command.ts";
import { openKeys } from "./open-keys.ts";
import { say } from "./print.ts";

/** How long a command waits for positions of events. Milliseconds. */
const LONGEST_MS = 60_000;
const AGAIN_AFTER_MS = 50;

/**
 * Gives positions to the events that have none yet, as a gateway does: there may be none that runs. If that fails, as in
 * a ledger that somebody has changed, the command continues with the events that have a position.
 */
export async function sealPending(scene: CommandScene): Promise<void> {
  const { db } = scene;
  let digests: Promise<DigestCustomer> | undefined;
  const openDigests = () => {
    digests ??= openDigestsOf(scene);
    return digests;
  };
  const until = performance.now() + LONGEST_MS;
  try {
    while (performance.now() < until) {
      const outcome = await sealOnce(db, openDigests);
      if (outcome === "idle" || outcome === "sealed") return;
      if (outcome === "overtaken") await wait(AGAIN_AFTER_MS);
    }
  } catch (error) {
    say(`Some events could not get their positions: ${error instanceof Error ? error.message : error}`);
  }
}

/** Needs the encryption keys. */
async function openDigestsOf(scene: CommandScene): Promise<DigestCustomer> {
  return openCustomerDigests(scene.db, await openKeys(scene));
}

/** The names and keys of the database's logs. Needs the encryption keys. */
export async function openLogKeysOf(scene: CommandScene): Promise<LogKeys> {
  const { db, config } = scene;
  const keys = await openKeys(scene);
  if (config.auditCheckpointFile !== undefined) signedHeadsOf(keys).readLater(config.auditCheckpointFile);
  return openLogKeys({ db, keys, logName: config.auditLogName });
}
