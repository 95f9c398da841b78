import { newEvent } from "../audit/event.ts";
import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { FieldFault } from "../errors.ts";
import { openNumber } from "./document-number.ts";
import { kycNotFound } from "./get-kyc.ts";
import { type DeleteKycInput, deleteKycInput, parseInput } from "./input.ts";
import { isKycId } from "./kyc.ts";
import { toAuditReason } from "./reason.ts";
import { lockKyc, deleteKyc as removeKyc } from "./store.ts";
import { requireVersion } from "./update-kyc.ts";

/**
 * Afterwards the record and all its data are gone for good; only its place in the list stays known, for cursors, and
 * its trail, which gains the event. Answers the id. Repeating fails with NOT_FOUND. Needs `kyc:delete`. Fails with VERSION_CONFLICT where versions
 * are expected and the record's is none of them.
 */
export async function deleteKyc(
  ctx: OperationContext,
  input: DeleteKycInput,
  found: readonly FieldFault[] = [],
): Promise<string> {
  const viewer = requireScope(ctx.viewer, "kyc:delete");
  const { accountId } = viewer;
  const { id, expectedVersion, reason } = parseInput(deleteKycInput, input, found);
  if (!isKycId(id)) throw kycNotFound();
  return ctx.db.transaction(async (tx) => {
    const stored = await lockKyc(tx, accountId, id);
    if (!stored) throw kycNotFound();
    requireVersion(stored, expectedVersion);
    const event = newEvent(ctx, viewer, {
      ...{ action: "deleted", at: Math.max(stored.updatedAt, ctx.now()), kycIds: [id] },
      statusBefore: stored.verificationStatus,
      reason: toAuditReason(viewer, reason, undefined, () => openNumber(ctx.keys, accountId, stored)),
    });
    await removeKyc(tx, accountId, stored, event);
    return id;
  });
}
