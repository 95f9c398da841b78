import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { AppError, badUserInput, type FieldFault } from "../errors.ts";
import { isKycId } from "../kyc-id.ts";
import { parseInput } from "../parse-input.ts";
import { recordIds } from "./input.ts";
import { ShownKyc } from "./show-kyc.ts";
import { findKyc, findKycs } from "./store/read.ts";

/**
 * The record with this id, or null if the viewer's account has none. Needs `kyc:read`. Fails with BAD_USER_INPUT if the
 * surface has found faults.
 */
export async function getKyc(
  ctx: OperationContext,
  id: string,
  found: readonly FieldFault[] = [],
): Promise<ShownKyc | null> {
  const { accountId } = requireScope(ctx.viewer, "kyc:read");
  if (found.length > 0) throw badUserInput(found);
  const stored = isKycId(id) ? await findKyc(ctx.db, accountId, id) : undefined;
  return stored ? new ShownKyc(ctx, stored) : null;
}

/**
 * The records with these ids, in the order of `ids`, with null for each that the viewer's account does not have. At most
 * 100 ids. Needs `kyc:read`.
 */
export async function getKycs(ctx: OperationContext, ids: readonly string[]): Promise<(ShownKyc | null)[]> {
  const { accountId } = requireScope(ctx.viewer, "kyc:read");
  parseInput(recordIds, { ids });
  const wanted = ids.filter(isKycId);
  const found = wanted.length > 0 ? await findKycs(ctx.db, accountId, wanted) : [];
  const byId = new Map(found.map((kyc) => [kyc.id, kyc]));
  return ids.map((id) => {
    const stored = byId.get(id);
    return stored ? new ShownKyc(ctx, stored) : null;
  });
}

/** The error for an id without a record in the account, including ids of other accounts and malformed ids. */
export function kycNotFound(): AppError {
  return new AppError("NOT_FOUND", "No record with this id.");
}
