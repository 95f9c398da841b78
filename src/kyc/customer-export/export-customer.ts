import { z } from "zod";
import { recordAct } from "../../administration/record-act.ts";
import { byViewer } from "../../audit/by-viewer.ts";
import { requireScope, requireViewer, type Scope, type Viewer } from "../../auth/scopes.ts";
import type { OperationContext } from "../../context.ts";
import { type AppError, badUserInput } from "../../errors.ts";
import { findHead, signHead } from "../../ledger/sign-head.ts";
import { openLogKeys } from "../../ledger/signing-keys.ts";
import { toJsonText } from "../../lib/json-text.ts";
import { parseInput, type Raw } from "../../parse-input.ts";
import { customerId } from "../input.ts";
import { sectionsOf, toIso } from "./sections.ts";
import { type Customer, hasMoreEvents, hasMoreRecords } from "./store.ts";

/** An export has everything: a token that may not see a part of it gets none. */
const NEEDED: readonly Scope[] = ["kyc:read", "kyc:pii", "audit:read", "kyc:hold"];

const exportCustomerInput = z.object({ customerId });
export type ExportCustomerInput = Raw<typeof exportCustomerInput>;

/** An export that has begun. */
interface BegunExport {
  /** Epoch milliseconds. */
  exportedAt: number;
  /** The position of the account's next event when the export began. */
  position: number;
  /** The signed head of the account's log at that moment. */
  checkpoint: string;
}

/**
 * Begins an export of everything that is held about a customer, and writes its event. `text` is the file, a page at a time:
 * one JSON object, in memory that does not depend on its size. It has what the account holds of the customer's records,
 * also of deleted ones, their legal holds, erasures, webhook deliveries and events; not the event of this export. If reads
 * are audited, the caller must call `recordReads` before it passes a piece of the text on. Needs `kyc:read`, `kyc:pii`,
 * `audit:read` and `kyc:hold`. Fails with BAD_USER_INPUT. A customer that nothing is known of has empty lists.
 */
export async function exportCustomer(
  ctx: OperationContext,
  input: ExportCustomerInput,
): Promise<BegunExport & { text: AsyncIterable<string> }> {
  const { begun, record, toText } = await prepareExport(ctx, input);
  const sequence = await record();
  return { text: toText(ctx, sequence), ...begun };
}

/** What both forms of an export have in common. `record` writes the event, and returns its sequence. */
async function prepareExport(ctx: OperationContext, input: ExportCustomerInput) {
  const { viewer, customer } = readRequest(ctx, input);
  const { accountId, digest: customerDigest } = customer;
  const head = await findHead(ctx.db, accountId);
  const checkpoint = await signHead(ctx.db, await openLogKeys(ctx), head);
  const by = byViewer(ctx, viewer);
  const exportedAt = ctx.now();
  const begun: BegunExport = { exportedAt, position: head.size, checkpoint };
  const file = {
    ...{ customer_id: customer.customerId, account: accountId, exported_at: toIso(exportedAt) },
    exported_by: {
      surface: by.surface,
      token_id: by.tokenId,
      token_name: by.tokenName,
      actor_name: by.actorName,
    },
    ...{ request_id: by.requestId, position: begun.position, checkpoint },
  };
  const act = { action: "customer_exported", subject: null, at: exportedAt, customerDigest } as const;
  return {
    begun,
    record: () => ctx.db.transaction((tx) => recordAct(tx, by, act, accountId)),
    toText: (reading: OperationContext, before: number) =>
      toJsonText(file, sectionsOf(reading, customer, before), (counts) => ({ counts })),
  };
}

/** Limits of an export that is read as a whole. The memory of an answer is as that of the largest other ones. */
const MOST_RECORDS = 1000;
/** More never fit into `MOST_BYTES`: without this, all of them would be gone through before the first is written. */
const MOST_EVENTS = 10_000;
const MOST_BYTES = 2 * 2 ** 20;

/**
 * As `exportCustomer`, with the file as one text. Fails with BAD_USER_INPUT if the customer has more than a thousand records
 * or ten thousand events, or if the file has more than 2 MiB: no event is written then.
 */
export async function exportWholeCustomer(
  ctx: OperationContext,
  input: ExportCustomerInput,
): Promise<BegunExport & { content: string }> {
  const { customer } = readRequest(ctx, input);
  if (await hasMoreRecords(ctx.db, customer, MOST_RECORDS)) throw tooLarge(`${MOST_RECORDS} records`);
  if (await hasMoreEvents(ctx.db, customer, MOST_EVENTS)) throw tooLarge(`${MOST_EVENTS} events`);
  const { begun, record, toText } = await prepareExport(ctx, input);
  // A refused file leaves no event of an export, and none of a read: nobody has seen it.
  const reads = ctx.reads && { shown: new Map<string, string>(), confirmed: new Map<string, string>() };
  const pieces: string[] = [];
  let bytes = 0;
  for await (const piece of toText({ ...ctx, reads }, Number.MAX_SAFE_INTEGER)) {
    bytes += Buffer.byteLength(piece);
    if (bytes > MOST_BYTES) throw tooLarge("2 MiB of data");
    pieces.push(piece);
  }
  await record();
  for (const [id, owner] of reads?.shown ?? []) ctx.reads?.shown.set(id, owner);
  return { content: pieces.join(""), ...begun };
}

function readRequest(
  ctx: OperationContext,
  input: ExportCustomerInput,
): { viewer: Viewer; customer: Customer } {
  for (const scope of NEEDED) requireScope(ctx.viewer, scope);
  const viewer = requireViewer(ctx.viewer);
  const { customerId } = parseInput(exportCustomerInput, input);
  const { accountId } = viewer;
  return { viewer, customer: { accountId, customerId, digest: ctx.digestCustomer(accountId, customerId) } };
}

function tooLarge(size: string): AppError {
  const message = `has more than ${size}, which is as much as one answer has: use \`kyc-gateway customer export\``;
  return badUserInput([{ path: ["customerId"], kind: "invalid", message }]);
}
