import type { z } from "zod";
import { newEvent } from "../audit/event.ts";
import { hasScope, requireScope, type Viewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { Executor } from "../db/client.ts";
import { badUserInput, type FieldFault } from "../errors.ts";
import { findIdempotencyKeyFaults } from "../idempotency/key.ts";
import { toKeyedWrite, writeOnce } from "../idempotency/write-once.ts";
import { toKycId } from "../kyc-id.ts";
import { readInput } from "../parse-input.ts";
import { CHANGEABLE, CHANGEABLE_PLAIN, type PlainValues, RecordValues } from "./fields.ts";
import { kycNotFound } from "./get-kyc.ts";
import { type UpdateKycInput, updateKycInput } from "./input.ts";
import { fromSnapshot, isToBeBound, maskInput, sealNumber, toSnapshot } from "./number/document-number.ts";
import { findNewNumber, isForeignMask, isMasked, maskFault } from "./number/given-number.ts";
import { toAuditReason } from "./reason.ts";
import type { Kyc, SealedNumber } from "./record.ts";
import { readNumber, requireNumber, ShownKyc } from "./show-kyc.ts";
import { findKyc, lockKyc } from "./store/read.ts";
import { type KycChange, updateKycAtVersion, updateLockedKyc } from "./store/write.ts";
import { listVersions, requireVersion } from "./version-condition.ts";

/** Fields that a surface accepts in an update in addition to the operation's own input. */
interface SurfaceNeeds {
  /**
   * The given fields that a client may send back but not change, under the surface's names, in a fixed order, each as a
   * string or number in a fixed form.
   */
  given: readonly (readonly [name: string, value: unknown])[];
  /** The faults of those that are not the stored record's. */
  findChanged(stored: Kyc): FieldFault[];
}

const NO_NEEDS: SurfaceNeeds = { given: [], findChanged: () => [] };

/**
 * Sets the given values. If any of them is new, the record gets the next version, and the audit trail one event. Absent
 * fields stay as they are. An unmasked number from a viewer without `kyc:pii` always counts as new, even if it equals the
 * record's; the record's own mask never does. Repeating the call is safe, except that such a number makes another version;
 * with the same idempotency key, a repetition returns the record as it was then. Needs `kyc:write`, and `kyc:read` to send
 * back values that only a reader sees. Fails with BAD_USER_INPUT (naming every fault; `found` are those that the surface
 * has found), with NOT_FOUND, with VERSION_CONFLICT if versions are expected and the record has none of them, and with
 * INTERNAL if there is a reason and no new number, and the record's number can't be decrypted, because the reason must not
 * contain it.
 */
export async function updateKyc(
  ctx: OperationContext,
  input: UpdateKycInput,
  found: readonly FieldFault[] = [],
  needs = NO_NEEDS,
): Promise<ShownKyc> {
  const viewer = requireScope(ctx.viewer, "kyc:write");
  const { accountId } = viewer;
  const met = [...found, ...findIdempotencyKeyFaults(ctx.idempotency)];
  const { id, value, plan } = planUpdate(ctx, viewer, input, met, needs);
  // Fixed fields are compared only if there are some, so that a key stands for the same request on both surfaces. On a replay
  // they are compared with the record as it was then.
  const operation = value && {
    ...listVersions(value),
    ...(needs.given.length > 0 && { fixed: needs.given }),
  };
  const keyed = operation
    ? toKeyedWrite<Kyc, typeof operation>(ctx, viewer, "updateKyc", operation, maskInput)
    : null;
  if (!keyed) return new ShownKyc(ctx, await changeAsFound(ctx, accountId, id, plan));
  const kyc = await writeOnce(ctx, keyed, id, async (tx) => {
    return toKept(ctx, accountId, await changeLocked(tx, accountId, id, plan));
  });
  if (ctx.idempotency?.replayed) confirmReplayed(ctx, viewer, kyc, input.documentNumber);
  return new ShownKyc(ctx, fromSnapshot(kyc));
}

/** An update that was read: its record, its values if they are valid, and its change to the record. */
interface UpdatePlan {
  id: string;
  value: z.output<typeof updateKycInput> | undefined;
  plan: Plan;
}

/** Reads the input of an update. `found` are faults that are known already. */
export function planUpdate(
  ctx: OperationContext,
  viewer: Viewer,
  input: UpdateKycInput,
  found: readonly FieldFault[],
  needs = NO_NEEDS,
): UpdatePlan {
  const unseen = findUnseen(viewer, input, needs);
  const { value, faults } = readInput(updateKycInput, input, [...found, ...unseen]);
  const plan = (stored: Kyc | undefined): KycChange | null => {
    // Never compare the record with values that this viewer may not see.
    const comparable = unseen.length === 0 ? stored : undefined;
    const others = [...faults, ...(comparable ? needs.findChanged(comparable) : [])];
    const isForeign = comparable && isForeignMask(ctx, viewer, comparable, input.documentNumber);
    const masked = isForeign ? [maskFault] : [];
    if (!value || others.length > 0) throw badUserInput([...others, ...masked]);
    if (!stored) throw kycNotFound();
    // Check the version before the mask: the mask of an earlier version can differ.
    requireVersion(stored, value);
    if (masked.length > 0) throw badUserInput(masked);
    return planChange(ctx, viewer, stored, value);
  };
  return { id: toKycId(input.id), value, plan };
}

/** The record as it is kept for repetitions under the same key. */
export function toKept(ctx: OperationContext, accountId: string, kyc: Kyc): Kyc {
  const number = readNumber(ctx.keys, accountId, kyc);
  // Without a number it can't be decrypted on a replay either.
  return typeof number === "string" ? toSnapshot(kyc, number) : { ...toSnapshot(kyc, ""), plainNumber: null };
}

/** The faults of values that only a viewer with `kyc:read` sees. Comparing them for others would reveal the record's values. */
function findUnseen(viewer: Viewer, input: UpdateKycInput, { given }: SurfaceNeeds): FieldFault[] {
  if (hasScope(viewer, "kyc:read")) return [];
  const message = "can't be sent by a token without the scope kyc:read: leave it out";
  // The id is in the request anyway.
  const names = given.map(([name]) => name).filter((name) => name !== "id");
  const faults = names.map((name): FieldFault => ({ path: [name], kind: "invalid", message }));
  return isMasked(input.documentNumber) ? [...faults, maskFault] : faults;
}

/** A replay confirms the number of the request to a viewer who may see numbers, so the audit trail needs the read. */
export function confirmReplayed(ctx: OperationContext, viewer: Viewer, kyc: Kyc, given: unknown): void {
  if (given !== undefined && !isMasked(given) && hasScope(viewer, "kyc:pii"))
    ctx.reads?.confirmed.set(kyc.id, kyc.customerId);
}

/** The change to a record as it was read; null if nothing of it changes. Fails if the change is not allowed. */
type Plan = (stored: Kyc | undefined) => KycChange | null;

/** How often a change is tried without a lock. */
const TRIES = 3;

/**
 * Changes the record without locking it first, provided that it has not changed since it was read. Concurrent changes of one
 * record are rare, and locking takes two more round trips and one connection for all of them.
 */
async function changeAsFound(
  { db }: OperationContext,
  accountId: string,
  id: string,
  plan: Plan,
): Promise<Kyc> {
  for (let tries = 0; tries < TRIES; tries++) {
    const stored = await findKyc(db, accountId, id);
    const change = plan(stored);
    if (!change) return stored as Kyc;
    if (await updateKycAtVersion(db, accountId, change)) return change.kyc;
  }
  return db.transaction((tx) => changeLocked(tx, accountId, id, plan));
}

async function changeLocked(tx: Executor, accountId: string, id: string, plan: Plan): Promise<Kyc> {
  const stored = await lockKyc(tx, accountId, id);
  const change = plan(stored);
  if (!change) return stored as Kyc;
  await updateLockedKyc(tx, accountId, change);
  return change.kyc;
}

function planChange(
  ctx: OperationContext,
  viewer: Viewer,
  stored: Kyc,
  input: z.output<typeof updateKycInput>,
): KycChange | null {
  const { accountId } = viewer;
  const given = { ...stored, ...findNewValues(input) };
  const updatedAt = Math.max(stored.updatedAt, ctx.now());
  const hasNewStatus = given.verificationStatus !== stored.verificationStatus;
  const values = new RecordValues({ ...given, ...(hasNewStatus && { statusSince: updatedAt }) });
  // Do this before the number is sealed: sealing takes time, and the time of a refusal would reveal whether the number is new.
  const reason = toReason(ctx, viewer, stored, input);
  const number = findNewNumber(ctx, viewer, stored, input.documentNumber);
  const changedFields = CHANGEABLE.filter((name) =>
    name === "documentNumber" ? number !== undefined : stored[name] !== values[name],
  );
  if (changedFields.length === 0) return null;
  const sealed = sealForNext(ctx, accountId, stored, number);
  const kyc: Kyc = {
    ...values,
    sealedNumber: sealed ? sealed.sealedNumber : stored.sealedNumber,
    sealedVersion: sealed ? sealed.sealedVersion : null,
    plainNumber: sealed ? null : stored.plainNumber,
    updatedAt,
    version: stored.version + 1,
    // We already have the plaintext of a new number, and one that stays is decrypted at most once.
    openOnce: (open) => number ?? stored.openOnce?.(open) ?? open(),
  };
  const event = newEvent(ctx, viewer, {
    action: "updated",
    at: kyc.updatedAt,
    records: [stored],
    changedFields,
    reason,
    statusBefore: stored.verificationStatus,
    statusAfter: values.verificationStatus,
    documentTypeAfter: values.documentType,
    versionAfter: kyc.version,
  });
  return { kyc, number: sealed, event };
}

/** The given values of plain fields. */
function findNewValues(input: z.output<typeof updateKycInput>): Partial<PlainValues> {
  return Object.fromEntries(
    CHANGEABLE_PLAIN.filter((name) => input[name] !== undefined).map((name) => [name, input[name]]),
  );
}

/** The reason for the audit trail. It is not checked for a stored number that can't be decrypted and is being replaced. */
function toReason(
  ctx: OperationContext,
  viewer: Viewer,
  stored: Kyc,
  { reason, documentNumber }: z.output<typeof updateKycInput>,
): string | undefined {
  const { accountId } = viewer;
  if (reason === undefined) return undefined;
  const isRepaired =
    documentNumber !== undefined &&
    !isMasked(documentNumber) &&
    typeof readNumber(ctx.keys, accountId, stored) !== "string";
  return toAuditReason(
    viewer,
    reason,
    documentNumber,
    isRepaired ? undefined : () => requireNumber(ctx, accountId, stored),
    () => ctx.reads?.confirmed.set(stored.id, stored.customerId),
  );
}

/**
 * The sealed number to store: a new number, or the present one if it is bound to the record's version, sealed for the next
 * version; undefined if the stored text stays as it is. Fails if a bound number must be sealed again and can't be decrypted,
 * because it could never be opened under another version.
 */
function sealForNext(
  ctx: OperationContext,
  accountId: string,
  stored: Kyc,
  number: string | undefined,
): SealedNumber | undefined {
  const isBound = isToBeBound(ctx.keys, stored);
  if (number === undefined && !isBound) return undefined;
  const next = { id: stored.id, version: stored.version + 1 };
  return sealNumber(ctx.keys, accountId, next, number ?? requireNumber(ctx, accountId, stored), isBound);
}
