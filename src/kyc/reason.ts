import { hasScope, type Viewer } from "../auth/scopes.ts";
import { badUserInput } from "../errors.ts";
import { maskNumber } from "./document-number.ts";

const hasNumber = (reason: string, number: string) => reason.toLowerCase().includes(number.toLowerCase());

/**
 * The reason as the trail may have it: without the number that the request gives, and without the one that the record
 * has. Fails with BAD_USER_INPUT where it has one of them. A viewer who may not see the record's number is not told:
 * it is masked then, since an error would tell whoever guesses that the guess was right.
 */
export function toAuditReason(
  viewer: Viewer,
  reason: string | undefined,
  given: string | undefined,
  stored?: () => string,
): string | undefined {
  if (reason === undefined) return undefined;
  if (given !== undefined && hasNumber(reason, given)) throw containsNumber();
  const known = stored?.();
  if (known === undefined || !hasNumber(reason, known)) return reason;
  if (hasScope(viewer, "kyc:pii")) throw containsNumber();
  return maskAll(reason, known);
}

function containsNumber() {
  return badUserInput([
    { path: ["reason"], kind: "invalid", message: "must not contain the document number" },
  ]);
}

function maskAll(reason: string, number: string): string {
  const pattern = number.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return reason.replace(new RegExp(pattern, "giu"), () => maskNumber(number));
}
