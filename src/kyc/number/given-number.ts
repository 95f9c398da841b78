import { hasScope, type Viewer } from "../../auth/scopes.ts";
import type { OperationContext } from "../../context.ts";
import type { FieldFault } from "../../errors.ts";
import { IS_MASKED } from "../input.ts";
import type { Kyc } from "../record.ts";
import { readNumber } from "../show-kyc.ts";
import { MASK, maskNumber, UNREADABLE_MASK } from "./document-number.ts";

export const isMasked = (number: unknown): number is string =>
  typeof number === "string" && number.includes(MASK);

/** The fault of a masked number that is not the record's own mask. */
export const maskFault: FieldFault = { path: ["documentNumber"], kind: "invalid", message: IS_MASKED };

/** Whether a masked number is not the record's own mask. A viewer may send a record back as it was shown. */
export function isForeignMask(ctx: OperationContext, viewer: Viewer, stored: Kyc, given: unknown): boolean {
  if (!isMasked(given)) return false;
  const number = readNumber(ctx.keys, viewer.accountId, stored);
  if (typeof number !== "string") return given.trim() !== UNREADABLE_MASK;
  if (given.trim() === maskNumber(number)) return false;
  // A number that an earlier release stored can contain the mask character.
  return !(hasScope(viewer, "kyc:pii") && given.trim() === number);
}

/**
 * The number that an update must write; undefined if the record keeps its own. For a viewer without `kyc:pii`, the given
 * number is written without comparing it, so nothing that the viewer can observe depends on whether the two are equal. For a
 * viewer with that scope, an equal number is confirmed, and the audit trail gets an event of the read.
 */
export function findNewNumber(
  ctx: OperationContext,
  viewer: Viewer,
  stored: Kyc,
  given: string | undefined,
): string | undefined {
  if (given === undefined || isMasked(given)) return undefined;
  if (!hasScope(viewer, "kyc:pii") || readNumber(ctx.keys, viewer.accountId, stored) !== given) return given;
  ctx.reads?.confirmed.set(stored.id, stored.customerId);
  return undefined;
}
