import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { Command, Option } from "commander";
import { FaultFile } from "../import/fault-file.ts";
import { type FileOutcome, importFile } from "../import/import-file.ts";
import { type FileFormat, hashFile, openSource, type SourceOptions } from "../import/open-source.ts";
import { SEALED_PLACES } from "../sealed-places.ts";
import { openKeyring, requireKeySource } from "../sealing/open-keyring.ts";
import { addSealCounts } from "../sealing/seal-counts.ts";
import {
  CommandFailure,
  type CommandScene,
  nameDatabase,
  withDatabase,
  withKnownDatabase,
} from "./command.ts";
import { showImportProgress } from "./import-progress.ts";
import { ACCOUNT_NAME } from "./names.ts";
import { print, say } from "./print.ts";

interface Options {
  account: string;
  format?: FileFormat;
  ignoreUnknown: boolean;
  dryRun: boolean;
  faults?: string;
  json: boolean;
}

/** The command that imports a file of records. */
export function importCommand(): Command {
  return new Command("import")
    .description(
      "add the records of a file, with their ids and times; may be interrupted and repeated. Exits with 1 if a line is bad",
    )
    .argument("<file>", "CSV with a header, or NDJSON; - is standard input")
    .requiredOption("--account <account>", "which account", ACCOUNT_NAME)
    .addOption(
      new Option("--format <format>", "if neither the name nor the beginning of the file says it").choices([
        "csv",
        "ndjson",
      ]),
    )
    .option("--ignore-unknown", "leave out columns and fields that no record has", false)
    .option("--dry-run", "read and compare everything, and change nothing", false)
    .option(
      "--faults <file>",
      "where the bad lines are named: by default in the present folder, in the name of the file with .faults, or with .dry-run.faults",
    )
    .addOption(new Option("--json", "print the result as JSON").default(false))
    .action(runImport);
}

async function runImport(file: string, options: Options): Promise<void> {
  const { dryRun, json } = options;
  const given = { file, format: options.format, ignoresUnknown: options.ignoreUnknown };
  // A file that can't be read is reported before a database is made.
  const digest = await digestOf(file, options.ignoreUnknown);
  const name = file === "-" ? "import" : basename(file);
  const faults = new FaultFile(options.faults ?? `${name}${dryRun ? ".dry-run" : ""}.faults`);
  const open = dryRun ? withKnownDatabase<FileOutcome> : withDatabase<FileOutcome>;
  const outcome = await open(
    (scene) => importInto(scene, { ...options, given, digest, faults }),
    (config) => {
      requireKeySource(config);
      if (!dryRun) nameDatabase(config);
    },
  );
  const { wasFinished, ...counts } = outcome;
  if (wasFinished) say("This file was imported before: nothing has changed.");
  const faultFile = counts.bad > 0 ? faults.path : null;
  if (json) print(JSON.stringify({ ...counts, dryRun, wasFinished, faultFile }));
  else {
    const { imported, unchanged, bad } = counts;
    print(`${dryRun ? "To import" : "Imported"}: ${imported}, already there: ${unchanged}, bad: ${bad}`);
  }
  if (counts.bad > 0) throw new CommandFailure(`${counts.bad} lines are bad: ${faults.path} names them`);
}

/** Identifies the contents of the file, and what is made of them. What comes through a pipe can't be read twice. */
async function digestOf(file: string, ignoresUnknown: boolean): Promise<string> {
  if (file === "-") return randomUUID();
  if (!(await stat(file)).isFile()) {
    throw new CommandFailure(`${file} is no regular file: give - and let the shell read it`);
  }
  const contents = await hashFile(file);
  return ignoresUnknown ? `${contents} without unknown fields` : contents;
}

interface Wanted extends Pick<Options, "account" | "dryRun"> {
  given: SourceOptions;
  digest: string;
  faults: FaultFile;
}

async function importInto({ db, config, by }: CommandScene, wanted: Wanted): Promise<FileOutcome> {
  const { account, dryRun, given, digest, faults } = wanted;
  const keys = await openKeyring(config, db, SEALED_PLACES, say, by);
  const source = await openSource(given);
  const shown = showImportProgress(source.size);
  try {
    return await importFile({
      ...{ db, keys, account, source, digest, faults, isDryRun: dryRun, requestId: by.requestId },
      onContinue: (line, missing) => {
        say(`An earlier run ended after line ${line}: continuing there.`);
        if (missing > 0) say(`${faults.path} lacks ${missing} bad lines that an earlier run has reported.`);
      },
      onBatch: (counts) => shown.step(source.read(), counts),
    });
  } finally {
    shown.end();
    await faults.close();
    if (!dryRun) await addSealCounts(db, keys);
  }
}
