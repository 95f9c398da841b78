import { Command, InvalidArgumentError, Option } from "commander";
import { exportKycs } from "../kyc/export-kycs.ts";
import type { KycFilter } from "../kyc/input.ts";
import { EXPORT_FORMATS, type ExportFormat, toExportText } from "../rest/export-text.ts";
import { requireKeySource } from "../sealing/open-keyring.ts";
import { DOCUMENT_TYPE_WORDS, STATUS_WORDS, toWord, type Words } from "../spellings.ts";
import {
  DOCUMENT_TYPES,
  type DocumentType,
  VERIFICATION_STATUSES,
  type VerificationStatus,
} from "../vocabulary.ts";
import { sealPending } from "./audit-scene.ts";
import { CommandFailure, type CommandScene, withKnownDatabase } from "./command.ts";
import { ACCOUNT_NAME } from "./names.ts";
import { openContextOf } from "./operator-scene.ts";
import { printAndWait, say } from "./print.ts";

interface Options {
  account: string;
  format: ExportFormat;
  masked: boolean;
  customer?: string;
  status?: VerificationStatus;
  type?: DocumentType;
}

/** Reads a word in any of its spellings. */
function wordOf<Word extends string>(words: readonly Word[], table: Words<Word>) {
  return (text: string): Word => {
    const word = toWord(table, text);
    if (words.includes(word)) return word;
    throw new InvalidArgumentError(`It must be one of ${words.join(", ")}.`);
  };
}

/** The command that prints the records of an account. */
export function exportCommand(): Command {
  return new Command("export")
    .description("print an account's records, newest first; the last line says that it is complete")
    .requiredOption("--account <account>", "which account", ACCOUNT_NAME)
    .addOption(
      new Option("--format <format>", "the form of the lines").choices(EXPORT_FORMATS).default("ndjson"),
    )
    .option("--masked", "mask the document numbers", false)
    .option("--customer <id>", "only records of this customer")
    .option("--status <status>", "only records with this status", wordOf(VERIFICATION_STATUSES, STATUS_WORDS))
    .option(
      "--type <type>",
      "only records with this kind of document",
      wordOf(DOCUMENT_TYPES, DOCUMENT_TYPE_WORDS),
    )
    .action((options: Options) =>
      withKnownDatabase((scene) => printExport(scene, options), requireKeySource),
    );
}

async function printExport(scene: CommandScene, options: Options): Promise<void> {
  const { account, format, customer, status, type } = options;
  // Maybe no gateway runs that assigns positions to the latest events.
  await sealPending(scene);
  const filter = {
    ...(customer !== undefined && { customerId: customer }),
    ...(status !== undefined && { verificationStatus: status }),
    ...(type !== undefined && { documentType: type }),
  } satisfies Partial<KycFilter>;
  const ctx = await openContextOf(scene, account, options.masked ? ["kyc:read"] : ["kyc:read", "kyc:pii"]);
  for await (const text of toExportText(ctx, await exportKycs(ctx, filter), format)) await printAndWait(text);
  for (const { kycId } of ctx.unreadable) say(`The number of the record ${kycId} can't be decrypted.`);
  if (ctx.unreadable.length > 0) {
    throw new CommandFailure(
      "numbers that can't be decrypted are null in the export: `keys check` lists all",
    );
  }
}
