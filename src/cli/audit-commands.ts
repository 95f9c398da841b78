import { Command, InvalidArgumentError, Option } from "commander";
import { formatVerifier } from "../ledger/note.ts";
import { proveConsistency } from "../ledger/prove-consistency.ts";
import { findHead, signHead } from "../ledger/sign-head.ts";
import { rotateSigningKey } from "../ledger/signing-keys.ts";
import { listLogAccounts } from "../ledger/verify-store.ts";
import { requireKeySource } from "../sealing/open-keyring.ts";
import { type ExportOptions, exportLog } from "./audit-export.ts";
import { openLogKeysOf, sealPending } from "./audit-scene.ts";
import { type VerifyOptions, verifyLogs } from "./audit-verify.ts";
import { type CommandScene, withKnownDatabase } from "./command.ts";
import { ACCOUNT_NAME } from "./names.ts";
import { openKeys } from "./open-keys.ts";
import { print, say } from "./print.ts";

function parsePosition(text: string): number {
  const number = Number(text);
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(number)) return number;
  throw new InvalidArgumentError("It must be a whole number from 0 on.");
}

/** `audit verify`, `audit checkpoint`, `audit key` and `audit export`. */
export function auditCommands(): Command {
  const audit = new Command("audit").description("verify, export and sign the ledger: see docs/ledger.md");
  audit
    .command("verify")
    .description(
      "compute the ledger again from the events, and name the first fault of each log; exits with 1 if there is one",
    )
    .option("--account <account>", "only this account's log", ACCOUNT_NAME)
    .option(
      "--checkpoint <file>",
      "checkpoints that somebody kept: signed notes, or lines of the gateway's log; the logs must continue each of them",
    )
    .option("--key <file>", "keys of checkpoints that the database no longer has, one a line")
    .addOption(new Option("--json", "print JSON").default(false))
    .action((options: VerifyOptions) =>
      withKnownDatabase(
        (scene) => verifyLogs(scene, options),
        // Without checkpoints nothing is decrypted.
        options.checkpoint === undefined ? undefined : requireKeySource,
      ),
    );
  audit
    .command("checkpoint")
    .description("print the signed head of an account's log")
    .requiredOption("--account <account>", "the account", ACCOUNT_NAME)
    .option(
      "--since <size>",
      "print before it the proof that the log continues the one that had so many events",
      parsePosition,
    )
    .action(({ account, since }: { account: string; since?: number }) =>
      withKnownDatabase((scene) => printCheckpoint(scene, account, since), requireKeySource),
    );
  audit.addCommand(keyCommand());
  audit
    .command("export")
    .description("print an account's events in order of position, and the signed head as the last line")
    .requiredOption("--account <account>", "the account", ACCOUNT_NAME)
    .addOption(new Option("--format <format>", "the format").choices(["ndjson", "csv"]).default("ndjson"))
    .option("--from <position>", "the first position", parsePosition, 0)
    .option("--to <position>", "the position after the last one (default: all events)", parsePosition)
    .action((options: ExportOptions) =>
      withKnownDatabase((scene) => exportLog(scene, options), requireKeySource),
    );
  return audit;
}

async function printCheckpoint(scene: CommandScene, account: string, since?: number): Promise<void> {
  const { db } = scene;
  const logKeys = await openLogKeysOf(scene);
  await sealPending(scene);
  if (since === undefined) {
    print((await signHead(db, logKeys, await findHead(db, account))).trimEnd());
    return;
  }
  const text = await proveConsistency({ db, logKeys, accountId: account, since });
  print(text.trimEnd());
}

/** `audit key` and `audit key rotate`. */
function keyCommand(): Command {
  const key = new Command("key")
    .description("print the keys that verify an account's checkpoints, the newest first")
    .option("--account <account>", "only this account's (default: every account's)", ACCOUNT_NAME)
    .action(({ account }: { account?: string }) =>
      withKnownDatabase((scene) => printKeys(scene, account), requireKeySource),
    );
  key
    .command("rotate")
    .description("make a new signing key; the key before it signs too until the next rotation")
    .action(() => withKnownDatabase(rotate, requireKeySource));
  return key;
}

async function printKeys(scene: CommandScene, account: string | undefined): Promise<void> {
  const logKeys = await openLogKeysOf(scene);
  const printOf = (accountId: string) => {
    for (const verifier of logKeys.verifiersOf(logKeys.originOf(accountId))) print(formatVerifier(verifier));
  };
  if (account !== undefined) printOf(account);
  else for await (const accountId of listLogAccounts(scene.db)) printOf(accountId);
}

async function rotate(scene: CommandScene): Promise<void> {
  const number = await rotateSigningKey(scene.db, await openKeys(scene), scene.by);
  say(`The signing key ${number} signs from now on. Give auditors the new keys: kyc-gateway audit key.`);
}
