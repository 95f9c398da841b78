import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Fault } from "../ledger/fault.ts";
import { type KeptCheckpoints, readCheckpoints } from "../ledger/kept-checkpoints.ts";
import { NoteError, type NoteVerifier, parseVerifier } from "../ledger/note.ts";
import { verifyLog } from "../ledger/verify-log.ts";
import { countEntries, hasLog, listLogAccounts } from "../ledger/verify-store.ts";
import { openLogKeysOf, sealPending } from "./audit-scene.ts";
import { CommandFailure, type CommandScene } from "./command.ts";
import { showProgress } from "./keys-progress.ts";
import { counted, print, printTable, say } from "./print.ts";

export interface VerifyOptions {
  account?: string;
  /** The path of a file. */
  checkpoint?: string;
  /** The path of a file with keys that are not in the database. */
  key?: string;
  json: boolean;
}

/**
 * Computes all logs, or one account's, again from the events, and prints the first fault of each. Fails with a
 * CommandFailure if there is one, and if there is nothing to verify. Apart from giving positions to events that have
 * none yet, it changes nothing.
 */
export async function verifyLogs(scene: CommandScene, options: VerifyOptions): Promise<void> {
  const { db } = scene;
  const kept =
    options.checkpoint === undefined ? NOTHING_KEPT : await readKept(scene, options.checkpoint, options);
  await sealPending(scene);
  const progress = showProgress("events", await countEntries(db, options.account ?? null));
  const faults = kept.faults.filter(({ account }) => account === (options.account ?? account));
  let [events, logs, checkpoints] = [0, 0, 0];
  try {
    for await (const account of accountsOf(scene, options.account, kept)) {
      const heads = kept.heads.get(account) ?? [];
      const onStep = (count: number) => {
        events += count;
        progress.step(count);
      };
      const fault = await verifyLog({ db, account, kept: heads, onStep });
      if (fault) faults.push(fault);
      logs += 1;
      checkpoints += heads.length;
    }
  } finally {
    progress.end();
  }
  report(faults, options.json);
  if (faults.length > 0) throw new CommandFailure("the ledger has faults");
  const more = options.checkpoint === undefined ? "" : `, against ${counted(checkpoints, "kept checkpoint")}`;
  say(
    `Verified ${counted(events, "event")} in ${counted(logs, "log")}${more}: none was altered, removed or moved.`,
  );
}

const NOTHING_KEPT: KeptCheckpoints = { heads: new Map(), count: 0, faults: [] };

async function readKept(
  scene: CommandScene,
  path: string,
  { account, key }: VerifyOptions,
): Promise<KeptCheckpoints> {
  const logKeys = await openLogKeysOf(scene);
  const others = key === undefined ? [] : await readVerifiers(key);
  const lines = createInterface({
    input: createReadStream(path, "utf8"),
    crlfDelay: Number.POSITIVE_INFINITY,
  });
  const kept = await readCheckpoints(lines, logKeys, others);
  const isNone =
    account === undefined
      ? kept.count === 0 && kept.faults.length === 0
      : !kept.heads.has(account) && kept.faults.every((fault) => fault.account !== account);
  if (isNone)
    throw new CommandFailure(`${path} has no checkpoint${account === undefined ? "" : ` of ${account}`}`);
  return kept;
}

async function readVerifiers(path: string): Promise<NoteVerifier[]> {
  const lines = (await readFile(path, "utf8")).split("\n").filter((line) => line.trim() !== "");
  try {
    return lines.map((line) => parseVerifier(line.trim()));
  } catch (error) {
    if (!(error instanceof NoteError)) throw error;
    throw new CommandFailure(`${path} has a line that is no key: ${error.message}`);
  }
}

/** The accounts to verify: also those that only a checkpoint names. */
async function* accountsOf(
  { db }: CommandScene,
  only: string | undefined,
  kept: KeptCheckpoints,
): AsyncGenerator<string> {
  if (only !== undefined) {
    if (!kept.heads.has(only) && !(await hasLog(db, only)))
      throw new CommandFailure(`the account ${only} has no log`);
    yield only;
    return;
  }
  const missing = new Set(kept.heads.keys());
  for await (const account of listLogAccounts(db)) {
    missing.delete(account);
    yield account;
  }
  yield* missing;
}

function report(faults: readonly Fault[], json: boolean): void {
  if (json) {
    print(JSON.stringify(faults, null, 2));
    return;
  }
  if (faults.length === 0) return;
  printTable(
    ["account", "position", "what", "why"],
    faults.map(({ account, position, kind, message }) => [
      account,
      position === null ? "" : String(position),
      kind,
      message,
    ]),
  );
}
