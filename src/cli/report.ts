import { CommanderError } from "commander";
import { explainDatabase } from "../db/advice.ts";
import { BackupError } from "../db/embedded/backup.ts";
import { DataDirError } from "../db/embedded/data-dir.ts";
import { EngineError } from "../db/embedded/engine.ts";
import { DataDirInUseError } from "../db/embedded/folder-lock.ts";
import { EncodingError } from "../db/encoding.ts";
import { MigrationBlockedError } from "../db/migrating/migrate.ts";
import { NoGatewayError } from "../db/open.ts";
import { AppError } from "../errors.ts";
import { FaultFileError } from "../import/fault-file.ts";
import { OvertakenError } from "../import/import-records.ts";
import { SourceError } from "../import/source-error.ts";
import { LedgerError } from "../ledger/ledger-error.ts";
import { ConfigError } from "../lib/settings.ts";
import { CommandFailure } from "./command.ts";
import { OutputError, say } from "./print.ts";

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
/** The exit code that a shell reports for a program that SIGPIPE has ended. It is used if stdout's reader has closed it. */
const EXIT_UNREAD = 141;

/** Prints what failed, and returns the exit code. */
export function report(error: unknown): number {
  // Commander has printed what is wrong with the usage, or the requested help.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (error instanceof ConfigError) {
    for (const fault of error.faults) say(`configuration: ${fault}`);
    return EXIT_USAGE;
  }
  if (error instanceof DataDirError) {
    say(`configuration: ${error.message}`);
    return EXIT_USAGE;
  }
  if (error instanceof OutputError && error.isUnread) return EXIT_UNREAD;
  for (const line of explain(error)) say(`error: ${line}`);
  return EXIT_FAILURE;
}

/** Failures whose message alone says what to do. */
const FAILURES_IN_WORDS = [
  ...[BackupError, CommandFailure, DataDirInUseError, EncodingError, EngineError, LedgerError],
  ...[MigrationBlockedError, NoGatewayError, OutputError, OvertakenError, SourceError, FaultFileError],
];

function explain(error: unknown): string[] {
  const line = explainDatabase(error);
  if (line !== undefined) return [line];
  if (FAILURES_IN_WORDS.some((kind) => error instanceof kind)) return [(error as Error).message];
  // The message of a refusal says everything. For an internal error, the stack is needed, too.
  if (error instanceof AppError && error.code !== "INTERNAL") return [error.message];
  if (!(error instanceof Error)) return [String(error)];
  // The message of a system's failure, such as a port in use, is enough.
  return ["syscall" in error ? error.message : (error.stack ?? error.message)];
}
