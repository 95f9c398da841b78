import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { AppError, badUserInput, type FieldFault } from "../errors.ts";
import { kycNotFound } from "./get-kyc.ts";
import { readInput, type UpdateKycInput, updateKycInput } from "./input.ts";
import { isKycId, type Kyc } from "./kyc.ts";
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
): Promise<Kyc> {
  const { accountId } = requireScope(ctx.viewer, "kyc:write");
  const { value, faults } = readInput(updateKycInput, input, found);
  if (!isKycId(input.id)) throw value ? kycNotFound() : badUserInput(faults);
  return ctx.db.transaction(async (tx) => {
    const stored = await lockKyc(tx, accountId, input.id);
    const allFaults = [...faults, ...(stored ? check(stored) : [])];
    if (!value || allFaults.length > 0) throw badUserInput(allFaults);
    if (!stored) throw kycNotFound();
    requireVersion(stored, value.expectedVersion);
    const { verificationStatus, documentType, documentNumber } = { ...stored, ...withoutAbsent(value) };
    const changed: Kyc = { ...stored, verificationStatus, documentType, documentNumber };
    if (isSame(stored, changed)) return stored;
    changed.version += 1;
    changed.updatedAt = Math.max(stored.updatedAt, ctx.now());
    await writeKyc(tx, accountId, changed);
    return changed;
  });
}

/** Fails with VERSION_CONFLICT unless any version will do (undefined) or the record's is one of the expected. */
export function requireVersion(stored: Kyc, expected: number | readonly number[] | undefined): void {
  if (expected !== undefined && ![expected].flat().includes(stored.version)) {
    throw new AppError("VERSION_CONFLICT", `The record has changed: it is at version ${stored.version} now.`);
  }
}

function withoutAbsent<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function isSame(a: Kyc, b: Kyc): boolean {
  return (
    a.verificationStatus === b.verificationStatus &&
    a.documentType === b.documentType &&
    a.documentNumber === b.documentNumber
  );
}
