import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { FieldFault } from "../errors.ts";
import { kycNotFound } from "./get-kyc.ts";
import { type DeleteKycInput, deleteKycInput, parseInput } from "./input.ts";
import { isKycId } from "./kyc.ts";
import { lockKyc, deleteKyc as removeKyc } from "./store.ts";
import { requireVersion } from "./update-kyc.ts";

/**
 * Afterwards the record and all its data are gone for good; only its place in the list stays known, for cursors.
 * Answers the id. Repeating fails with NOT_FOUND. Needs `kyc:delete`. Fails with VERSION_CONFLICT where versions
 * are expected and the record's is none of them.
 */
export async function deleteKyc(
  ctx: OperationContext,
  input: DeleteKycInput,
  found: readonly FieldFault[] = [],
): Promise<string> {
  const { accountId } = requireScope(ctx.viewer, "kyc:delete");
  const { id, expectedVersion } = parseInput(deleteKycInput, input, found);
  if (!isKycId(id)) throw kycNotFound();
  return ctx.db.transaction(async (tx) => {
    const stored = await lockKyc(tx, accountId, id);
    if (!stored) throw kycNotFound();
    requireVersion(stored, expectedVersion);
    await removeKyc(tx, accountId, stored);
    return id;
  });
}
