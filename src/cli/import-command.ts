import { Command, InvalidArgumentError, Option } from "commander";
import { FaultFile } from "../import/fault-file.ts";
import { type FileOutcome, importFile } from "../import/import-file.ts";
import { requireKeySource } from "../sealing/open-keyring.ts";
import { addSealCounts } from "../sealing/seal-counts.ts";
import {
  CommandFailure,
  type CommandScene,
  nameDatabase,
  withDatabase,
  withKnownDatabase,
} from "./command.ts";
import { showImportProgress } from "./import-progress.ts";
import {
  findListUrlFault,
  findSource,
  findUsageFault,
  type ImportSource,
  type SourceArguments,
} from "./import-source.ts";
import { ACCOUNT_NAME } from "./names.ts";
import { openKeys } from "./open-keys.ts";
import { print, say } from "./print.ts";

interface Options extends SourceArguments {
  account: string;
  dryRun: boolean;
  faults?: string;
  json: boolean;
}

const DEFAULT_PAGE_SIZE = 100;
const LARGEST_PAGE_SIZE = 10_000;

function parsePageSize(text: string): number {
  const size = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (size >= 1 && size <= LARGEST_PAGE_SIZE) return size;
  throw new InvalidArgumentError(`It must be an integer from 1 to ${LARGEST_PAGE_SIZE}.`);
}

function parseListUrl(text: string): string {
  const fault = findListUrlFault(text);
  if (fault !== null) throw new InvalidArgumentError(fault);
  return text;
}

/** The command that imports a file of records, or those of another server. */
export function importCommand(): Command {
  return new Command("import")
    .description(
      "add the records of a file or of another server, with their ids and times; may be interrupted and repeated. Exits with 1 if one is bad",
    )
    .argument("[file]", "CSV with a header, or NDJSON; - is standard input")
    .requiredOption("--account <account>", "which account", ACCOUNT_NAME)
    .addOption(
      new Option("--format <format>", "if neither the name nor the beginning of the file says it").choices([
        "csv",
        "ndjson",
      ]),
    )
    .option(
      "--from <url>",
      "instead of a file: the list of records of a server with the API of /v1/kyc",
      parseListUrl,
    )
    .option("--token-file <file>", "the file with the token for --from")
    .option(
      "--page-size <count>",
      "how many records --from asks for at once",
      parsePageSize,
      DEFAULT_PAGE_SIZE,
    )
    .option("--ignore-unknown", "leave out columns and fields that no record has", false)
    .option("--dry-run", "read and compare everything, and change nothing", false)
    .option(
      "--faults <file>",
      "where the bad ones are named: by default in the present folder, in the name of the file or host with .faults, or with .dry-run.faults",
    )
    .addOption(new Option("--json", "print the result as JSON").default(false))
    .action(runImport);
}

async function runImport(file: string | undefined, options: Options, command: Command): Promise<void> {
  const { dryRun, json } = options;
  const usageFault = findUsageFault(file, options);
  if (usageFault !== null) command.error(`error: ${usageFault}`);
  // A file that can't be read is reported before a database is made.
  const source = await findSource(file, options);
  const faults = new FaultFile(options.faults ?? `${source.name}${dryRun ? ".dry-run" : ""}.faults`);
  const open = dryRun ? withKnownDatabase<FileOutcome> : withDatabase<FileOutcome>;
  const outcome = await open(
    (scene) => importInto(scene, { ...options, source, faults }),
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
  if (counts.bad > 0) throw new CommandFailure(`bad ${source.unit}: ${counts.bad}, named in ${faults.path}`);
}

interface Wanted extends Pick<Options, "account" | "dryRun"> {
  source: ImportSource;
  faults: FaultFile;
}

async function importInto(scene: CommandScene, wanted: Wanted): Promise<FileOutcome> {
  const { db, by } = scene;
  const { account, dryRun, faults } = wanted;
  const { digest, isAnew, unit } = wanted.source;
  const keys = await openKeys(scene);
  const source = await wanted.source.open();
  const shown = showImportProgress(source.size, unit);
  try {
    return await importFile({
      ...{ db, keys, account, source, digest, isAnew, faults, isDryRun: dryRun, requestId: by.requestId },
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
