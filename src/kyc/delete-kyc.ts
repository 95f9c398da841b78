import { newEvent } from "../audit/event.ts";
import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { FieldFault } from "../errors.ts";
import { findIdempotencyKeyFaults } from "../idempotency/key.ts";
import { toKeyedWrite, writeOnce } from "../idempotency/write-once.ts";
import { toKycId } from "../kyc-id.ts";
import { parseInput } from "../parse-input.ts";
import { kycNotFound } from "./get-kyc.ts";
import { type DeleteKycInput, deleteKycInput } from "./input.ts";
import { toAuditReason } from "./reason.ts";
import { requireNumber } from "./show-kyc.ts";
import { deleteLockedKycs, lockForDeletion } from "./store/deletion.ts";
import { listVersions, requireVersion } from "./version-condition.ts";

/**
 * Permanently deletes the record and all its data, including the results that are stored for idempotency keys, and writes
 * the event. Only its position in the list, for cursors, and its audit trail remain. Returns the id. A repetition fails
 * with NOT_FOUND, unless it has the same idempotency key. Needs `kyc:delete`. Fails with VERSION_CONFLICT if versions are
 * expected and the record has none of them, with LEGAL_HOLD if a hold is on it, with RETENTION if retention is enforced and
 * its time has not passed, and with INTERNAL if there is a reason and the record's number can't be decrypted, because the
 * reason must not contain the number.
 */
export async function deleteKyc(
  ctx: OperationContext,
  input: DeleteKycInput,
  found: readonly FieldFault[] = [],
): Promise<string> {
  const viewer = requireScope(ctx.viewer, "kyc:delete");
  const { accountId } = viewer;
  const value = parseInput(deleteKycInput, input, [...found, ...findIdempotencyKeyFaults(ctx.idempotency)]);
  const { reason } = value;
  const id = toKycId(value.id);
  const keyed = toKeyedWrite<string, typeof value>(ctx, viewer, "deleteKyc", listVersions(value));
  return writeOnce(ctx, keyed, id, async (tx) => {
    const [stored] = await lockForDeletion(tx, accountId, [id]);
    if (!stored) throw kycNotFound();
    requireVersion(stored, value);
    const event = newEvent(ctx, viewer, {
      ...{ action: "deleted", at: Math.max(stored.updatedAt, ctx.now()), records: [stored] },
      statusBefore: stored.verificationStatus,
      reason: toAuditReason(
        viewer,
        reason,
        undefined,
        () => requireNumber(ctx, accountId, stored),
        () => ctx.reads?.confirmed.set(id, stored.customerId),
      ),
    });
    await deleteLockedKycs(tx, accountId, [{ kyc: stored, event }], ctx);
    return id;
  });
}
