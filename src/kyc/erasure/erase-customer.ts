import { z } from "zod";
import { recordAct } from "../../administration/record-act.ts";
import { byViewer } from "../../audit/by-viewer.ts";
import { newEvent } from "../../audit/event.ts";
import { requireScope, type Viewer } from "../../auth/scopes.ts";
import type { OperationContext } from "../../context.ts";
import type { Executor } from "../../db/client.ts";
import { type AppError, badUserInput } from "../../errors.ts";
import { findIdempotencyKeyFaults } from "../../idempotency/key.ts";
import { toKeyedWrite, writeOnce } from "../../idempotency/write-once.ts";
import { newKycId } from "../../kyc-id.ts";
import { parseInput, type Raw } from "../../parse-input.ts";
import { requireUnheld } from "../holds/store.ts";
import { customerId, requiredReason } from "../input.ts";
import { toReasonWithoutNumbers } from "../reason-without-numbers.ts";
import { deleteLockedKycs, lockForDeletion } from "../store/deletion.ts";
import { excludeHolds } from "../store/of-customer.ts";
import { type ErasedRecord, eraseTexts, findErasure, insertErasure, type StoredErasure } from "./store.ts";

/** Records that one erasure deletes at most: so many take some seconds, in one transaction. */
const MOST_RECORDS = 10_000;
/** The time limit of the transaction. Milliseconds. */
const DEADLINE_MS = 60_000;

const eraseCustomerInput = z.object({ customerId, reason: requiredReason });
export type EraseCustomerInput = Raw<typeof eraseCustomerInput>;

/**
 * Deletes all records of a customer in one transaction, as `deleteKyc` does each, together with the texts of the reasons in
 * the customer's earlier events and the texts of its holds. A customer without records can be erased as well. Writes an event
 * for each record, and one for the erasure, whose id is the erasure's subject. Needs `kyc:delete`. Fails with LEGAL_HOLD if
 * the customer or one of the records is held, with RETENTION if retention is enforced and the time of one of the records has
 * not passed, and with BAD_USER_INPUT if there are more than 10,000 records; then nothing is deleted. With an idempotency
 * key, a repetition returns the same erasure. A record that is created meanwhile may stay.
 */
export async function eraseCustomer(
  ctx: OperationContext,
  input: EraseCustomerInput,
): Promise<StoredErasure> {
  const viewer = requireScope(ctx.viewer, "kyc:delete");
  const value = parseInput(eraseCustomerInput, input, findIdempotencyKeyFaults(ctx.idempotency));
  const keyed = toKeyedWrite<string, typeof value>(ctx, viewer, "eraseCustomer", value);
  const id = await writeOnce(ctx, keyed, "", (tx) => erase(tx, ctx, viewer, value), DEADLINE_MS);
  const erasure = await findErasure(ctx.db, viewer.accountId, id);
  if (!erasure) throw new Error("an erasure that was done is gone");
  return erasure;
}

/** An erasure of the account, for its receipt. Needs `audit:read`. Null if there is none with this id. */
export async function getErasure(ctx: OperationContext, id: string): Promise<StoredErasure | null> {
  const { accountId } = requireScope(ctx.viewer, "audit:read");
  return (await findErasure(ctx.db, accountId, id)) ?? null;
}

async function erase(
  tx: Executor,
  ctx: OperationContext,
  viewer: Viewer,
  { customerId, reason: given }: { customerId: string; reason: string },
): Promise<string> {
  const { accountId } = viewer;
  const ids = await excludeHolds(tx, accountId, customerId, MOST_RECORDS + 1);
  if (ids.length > MOST_RECORDS) throw tooMany();
  const records = await lockForDeletion(tx, accountId, ids);
  const reason = await toReasonWithoutNumbers(ctx, viewer, given, customerId, records);
  const customerDigest = ctx.digestCustomer(accountId, customerId);
  // Also a hold on a customer without records forbids its erasure.
  await requireUnheld(tx, accountId, [{ id: "", customerDigest }]);
  const id = `erasure_${newKycId(ctx.now())}`;
  const act = { action: "customer_erased", subject: id, at: ctx.now(), reason, customerDigest } as const;
  const sequence = await recordAct(tx, byViewer(ctx, viewer), act, accountId);
  const deletions = records.map((kyc) => ({
    kyc,
    event: newEvent(ctx, viewer, {
      ...{ action: "deleted", at: Math.max(kyc.updatedAt, ctx.now()), records: [kyc] },
      ...{ statusBefore: kyc.verificationStatus, reason },
    }),
  }));
  const erased = await deleteLockedKycs(tx, accountId, deletions, ctx);
  await insertErasure(tx, accountId, { id, sequence, records: erased }, customerDigest);
  await eraseTexts(tx, accountId, [customerDigest], { kycIds: ids, below: sequence });
  return id;
}

const erasedPage = z.object({
  first: z
    .int("must be an integer from 0 to 100")
    .min(0, "must be an integer from 0 to 100")
    .max(100, "must be an integer from 0 to 100"),
  skip: z.int("must be an integer from 0 on").min(0, "must be an integer from 0 on"),
});

/** Some of an erasure's records: `first` after `skip` others. Fails with BAD_USER_INPUT. */
export function pageOfErased(
  { records }: StoredErasure,
  input: { first: number; skip: number },
): ErasedRecord[] {
  const { first, skip } = parseInput(erasedPage, input);
  return records.slice(skip, skip + first);
}

function tooMany(): AppError {
  const message = `has more than ${MOST_RECORDS} records, which is as many as one erasure deletes: delete some of them with deleteKyc first`;
  return badUserInput([{ path: ["customerId"], kind: "invalid", message }]);
}
