import { Command } from "commander";
import { hasReads, recordReads } from "../audit/record-reads.ts";
import type { OperationContext } from "../context.ts";
import { AppError } from "../errors.ts";
import { exportCustomer } from "../kyc/customer-export/export-customer.ts";
import { eraseCustomer } from "../kyc/erasure/erase-customer.ts";
import type { ErasedRecord, StoredErasure } from "../kyc/erasure/store.ts";
import { LedgerError } from "../ledger/ledger-error.ts";
import { waitForProof } from "../ledger/prove-event.ts";
import { toJsonText } from "../lib/json-text.ts";
import { createFile } from "../lib/private-files.ts";
import { requireKeySource } from "../sealing/open-keyring.ts";
import { sealPending } from "./audit-scene.ts";
import { CommandFailure, type CommandScene, withKnownDatabase } from "./command.ts";
import { ACCOUNT_NAME } from "./names.ts";
import { openContextOf } from "./operator-scene.ts";
import { counted, printAndWait, say } from "./print.ts";

interface ExportOptions {
  account: string;
  out?: string;
}
interface EraseOptions {
  account: string;
  reason: string;
}

const CUSTOMER = ["<customer>", "your identifier of the customer"] as const;
const ACCOUNT = ["--account <account>", "the account that the customer belongs to", ACCOUNT_NAME] as const;

/** `customer export` and `customer erase`. */
export function customerCommands(): Command {
  const commands = new Command("customer").description("export or erase all data of one customer");
  commands
    .command("export")
    .description("print all data of a customer as one JSON object, for an access request")
    .argument(...CUSTOMER)
    .requiredOption(...ACCOUNT)
    .option("--out <file>", "write it to a new file that only you can read, instead of stdout")
    .action((customer: string, options: ExportOptions) =>
      inScene((scene) => writeExport(scene, customer, options)),
    );
  commands
    .command("erase")
    .description("delete all records of a customer permanently, and print the receipt as JSON")
    .argument(...CUSTOMER)
    .requiredOption(...ACCOUNT)
    .requiredOption("--reason <reason>", "why; it stays in the audit trail")
    .action((customer: string, options: EraseOptions) => inScene((scene) => erase(scene, customer, options)));
  return commands;
}

const inScene = (work: (scene: CommandScene) => Promise<void>): Promise<void> =>
  withKnownDatabase(work, requireKeySource);

async function writeExport(
  scene: CommandScene,
  customerId: string,
  { account, out }: ExportOptions,
): Promise<void> {
  // Maybe no gateway runs that assigns positions to the latest events.
  await sealPending(scene);
  const ctx = await openContextOf(scene, account, ["kyc:read", "kyc:pii", "audit:read", "kyc:hold"]);
  const unreadable = new Set<string>();
  const text = readExport(ctx, customerId, unreadable);
  if (out === undefined) for await (const piece of text) await printAndWait(piece);
  else await createNew(out, text);
  for (const kycId of unreadable) say(`The number of the record ${kycId} can't be decrypted.`);
  if (unreadable.size === 0) return;
  throw new CommandFailure(
    `${counted(unreadable.size, "number")} can't be decrypted and ${unreadable.size === 1 ? "is" : "are"} null in the export: \`keys check\` lists all`,
  );
}

/** Does nothing before the first piece is read. The trail has the reads before the piece that shows them. */
async function* readExport(
  ctx: OperationContext,
  customerId: string,
  unreadable: Set<string>,
): AsyncGenerator<string> {
  const { text } = await exportCustomer(ctx, { customerId });
  for await (const piece of text) {
    if (hasReads(ctx)) await recordReads(ctx);
    for (const { kycId } of ctx.unreadable.splice(0)) unreadable.add(kycId);
    yield piece;
  }
}

async function createNew(path: string, text: AsyncIterable<string>): Promise<void> {
  await createFile(path, text).catch((error) => {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new CommandFailure(`${path} exists: give --out the name of a new file`);
  });
  say(`${path} has everything that is held about the customer.`);
}

/** How long the receipt waits for the position of an event. Milliseconds. */
const PATIENCE_MS = 10_000;
/** Proofs per step. */
const STEP = 100;

async function erase(
  scene: CommandScene,
  customerId: string,
  { account, reason }: EraseOptions,
): Promise<void> {
  const ctx = await openContextOf(scene, account, ["kyc:delete", "audit:read"]);
  const erasure = await eraseCustomer(ctx, { customerId, reason });
  say(`Erased: ${counted(erasure.records.length, "record")}. The erasure is ${erasure.id}.`);
  await sealPending(scene);
  try {
    for await (const piece of receiptOf(ctx, account, erasure)) await printAndWait(piece);
  } catch (error) {
    if (!(error instanceof AppError || error instanceof LedgerError)) throw error;
    const query = `erasure(id: "${erasure.id}")`;
    throw new CommandFailure(
      `the customer is erased, but the receipt can't be proven: ${error.message} GraphQL has it later: ${query}`,
    );
  }
}

/** The receipt as JSON: a line for each record, with its proof. */
async function* receiptOf(
  ctx: OperationContext,
  account: string,
  { id, erasedAt, sequence, records }: StoredErasure,
): AsyncGenerator<string> {
  const prove = async (of: number) => {
    const { position, text } = await waitForProof(ctx, account, of, PATIENCE_MS);
    return { position, proof: text };
  };
  async function* proven() {
    for (let from = 0; from < records.length; from += STEP) {
      const some = records.slice(from, from + STEP);
      yield Promise.all(
        some.map(async (record: ErasedRecord) => ({
          kyc_id: record.kycId,
          ...(await prove(record.sequence)),
        })),
      );
    }
  }
  const head = {
    ...{ id, account, erased_at: new Date(erasedAt).toISOString(), record_count: records.length },
    ...(await prove(sequence)),
  };
  yield* toJsonText(head, { records: proven() }, (counts) => ({ counts }));
}
