import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { AppError, badUserInput, type FieldFault } from "../errors.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { MASK, maskNumber, openNumber, sealNumber } from "./document-number.ts";
import { kycNotFound } from "./get-kyc.ts";
import { IS_MASKED, readInput, type UpdateKycInput, updateKycInput } from "./input.ts";
import { isKycId, type Kyc, type SealedNumber } from "./kyc.ts";
import { ShownKyc } from "./show-kyc.ts";
import { lockKyc, updateKyc as writeKyc } from "./store.ts";

/**
 * Afterwards the record has the given values, and one version more if any of them is new; fields that are absent
 * stay as they are, so repeating is safe. Needs `kyc:write`. Fails with BAD_USER_INPUT (every fault named; `found`
 * are those that the surface met already, `check` finds those that only the stored record shows), NOT_FOUND, and
 * VERSION_CONFLICT where versions are expected and the record's is none of them.
 */
export async function updateKyc(
  ctx: OperationContext,
  input: UpdateKycInput,
  found: readonly FieldFault[] = [],
  check: (stored: Kyc) => FieldFault[] = () => [],
): Promise<ShownKyc> {
  const { accountId } = requireScope(ctx.viewer, "kyc:write");
  const { value, faults } = readInput(updateKycInput, input, found);
  if (!isKycId(input.id)) throw value ? kycNotFound() : badUserInput(faults);
  return ctx.db.transaction(async (tx) => {
    const stored = await lockKyc(tx, accountId, input.id);
    const allFaults = [...faults, ...(stored ? check(stored) : [])];
    if (!value || allFaults.length > 0) throw badUserInput(allFaults);
    if (!stored) throw kycNotFound();
    requireVersion(stored, value.expectedVersion);
    const { verificationStatus = stored.verificationStatus, documentType = stored.documentType } = value;
    const number = sealNewNumber(ctx.keys, accountId, stored, value.documentNumber);
    if (
      number === undefined &&
      verificationStatus === stored.verificationStatus &&
      documentType === stored.documentType
    ) {
      return new ShownKyc(ctx, stored);
    }
    const changed: Kyc = {
      ...stored,
      ...{ verificationStatus, documentType, version: stored.version + 1 },
      ...(number && { ...number, plainNumber: null }),
      updatedAt: Math.max(stored.updatedAt, ctx.now()),
    };
    await writeKyc(tx, accountId, changed, number);
    return new ShownKyc(ctx, changed);
  });
}

/** Fails with VERSION_CONFLICT unless any version will do (undefined) or the record's is one of the expected. */
export function requireVersion(stored: Kyc, expected: number | readonly number[] | undefined): void {
  if (expected !== undefined && ![expected].flat().includes(stored.version)) {
    throw new AppError("VERSION_CONFLICT", `The record has changed: it is at version ${stored.version} now.`);
  }
}

/**
 * The number, sealed, where it is another one than the record's. Its own mask stands for it: a token that is shown
 * masked numbers may send a record back as it came. Fails with BAD_USER_INPUT for any other mask.
 */
function sealNewNumber(
  keys: Keyring,
  accountId: string,
  stored: Kyc,
  number: string | undefined,
): SealedNumber | undefined {
  if (number === undefined) return undefined;
  const known = openNumber(keys, accountId, stored);
  if (number === known || number === maskNumber(known)) return undefined;
  if (number.includes(MASK)) {
    throw badUserInput([{ path: ["documentNumber"], kind: "invalid", message: IS_MASKED }]);
  }
  return sealNumber(keys, accountId, stored.id, number);
}
