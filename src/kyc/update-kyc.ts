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

/** What a surface takes and shows of a record that is updated, beyond the operation's own input. */
interface SurfaceNeeds {
  /**
   * Fields that a client may send back, but not change, as the surface names them. Those that were given, in one order,
   * each with a string or number that is the same however it was written.
   */
  given: readonly (readonly [name: string, value: unknown])[];
  /** The faults of those that are not the stored record's. */
  findChanged(stored: Kyc): FieldFault[];
}

const NO_NEEDS: SurfaceNeeds = { given: [], findChanged: () => [] };

/**
 * Afterwards the record has the given values, and if any of them is new, one version more and one event in the trail;
 * fields that are absent stay as they are. An unmasked number from a viewer without `kyc:pii` counts as new, also if it
 * is the record's; the record's own mask never does. So repeating is safe, but for such a number makes another version;
 * under the same idempotency key it answers the record as it was then. Needs `kyc:write`, and `kyc:read` to send back
 * what only a reader was shown. Fails with BAD_USER_INPUT (every fault named; `found` are those that the surface met
 * already), NOT_FOUND, VERSION_CONFLICT if versions are expected and the record's is none of them, and with INTERNAL if
 * there is a reason, no new number, and the record's number, which the reason must not contain, can't be decrypted.
 */
export async function updateKyc(
  ctx: OperationContext,
  input: UpdateKycInput,
  found: readonly FieldFault[] = [],
  needs = NO_NEEDS,
): Promise<ShownKyc> {
  const viewer = requireScope(ctx.viewer, "kyc:write");
  const { accountId } = viewer;
  const unseen = findUnseen(viewer, input, needs);
  const met = [...found, ...findIdempotencyKeyFaults(ctx.idempotency), ...unseen];
  const { value, faults } = readInput(updateKycInput, input, met);
  const id = toKycId(input.id);
  // A client that sent none asks for the same over either surface. On a replay they are those of another time.
  const operation = value && {
    ...listVersions(value),
    ...(needs.given.length > 0 && { fixed: needs.given }),
  };
  const keyed = operation
    ? toKeyedWrite<Kyc, typeof operation>(ctx, viewer, "updateKyc", operation, maskInput)
    : null;
  const plan = (stored: Kyc | undefined): KycChange | null => {
    // Nothing of the record is compared with what this viewer was not shown.
    const comparable = unseen.length === 0 ? stored : undefined;
    const others = [...faults, ...(comparable ? needs.findChanged(comparable) : [])];
    const isForeign = comparable && isForeignMask(ctx, viewer, comparable, input.documentNumber);
    const masked = isForeign ? [maskFault] : [];
    if (!value || others.length > 0) throw badUserInput([...others, ...masked]);
    if (!stored) throw kycNotFound();
    // Before its mask: that of a version which is no more is another one now.
    requireVersion(stored, value);
    if (masked.length > 0) throw badUserInput(masked);
    return planChange(ctx, viewer, stored, value);
  };
  if (!keyed) return new ShownKyc(ctx, await changeAsFound(ctx, accountId, id, plan));
  const kyc = await writeOnce(ctx, keyed, id, async (tx) => {
    const kyc = await changeLocked(tx, accountId, id, plan);
    const number = readNumber(ctx.keys, accountId, kyc);
    // Without a number it can't be decrypted on a replay either.
    return typeof number === "string"
      ? toSnapshot(kyc, number)
      : { ...toSnapshot(kyc, ""), plainNumber: null };
  });
  if (ctx.idempotency?.replayed) confirmReplayed(ctx, viewer, kyc, input.documentNumber);
  return new ShownKyc(ctx, fromSnapshot(kyc));
}

/** The faults of what only a viewer with `kyc:read` was shown: to compare it would tell others what the record has. */
function findUnseen(viewer: Viewer, input: UpdateKycInput, { given }: SurfaceNeeds): FieldFault[] {
  if (hasScope(viewer, "kyc:read")) return [];
  const message = "can't be sent by a token without the scope kyc:read: leave it out";
  // The id is in the request already.
  const names = given.map(([name]) => name).filter((name) => name !== "id");
  const faults = names.map((name): FieldFault => ({ path: [name], kind: "invalid", message }));
  return isMasked(input.documentNumber) ? [...faults, maskFault] : faults;
}

/** That the same request was sent under the key before confirms its number to a viewer who may see it. */
function confirmReplayed(ctx: OperationContext, viewer: Viewer, kyc: Kyc, given: unknown): void {
  if (given !== undefined && !isMasked(given) && hasScope(viewer, "kyc:pii"))
    ctx.reads?.confirmed.add(kyc.id);
}

/** The change to a record as it was read; null if nothing of it changes. Fails if it may not be changed so. */
type Plan = (stored: Kyc | undefined) => KycChange | null;

/** How often a change is tried before others are made to wait for it. */
const TRIES = 3;

/**
 * Changes the record as it is found, unless another change comes between: a record is seldom changed by two at once,
 * and to lock it first takes two round trips more and a connection for all of them.
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
  const values = new RecordValues({ ...stored, ...findNewValues(input) });
  // Before the number: to seal another one takes time, by which a refusal would tell whether it is the record's.
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
    updatedAt: Math.max(stored.updatedAt, ctx.now()),
    version: stored.version + 1,
    // We already have the plaintext of a new number, and one that stays is decrypted at most once.
    openOnce: (open) => number ?? stored.openOnce?.(open) ?? open(),
  };
  const event = newEvent(ctx, viewer, {
    action: "updated",
    at: kyc.updatedAt,
    kycIds: [stored.id],
    changedFields,
    reason,
    statusBefore: stored.verificationStatus,
    statusAfter: values.verificationStatus,
  });
  return { kyc, number: sealed, event };
}

/** The given values of fields that are stored as they are. */
function findNewValues(input: z.output<typeof updateKycInput>): Partial<PlainValues> {
  return Object.fromEntries(
    CHANGEABLE_PLAIN.filter((name) => input[name] !== undefined).map((name) => [name, input[name]]),
  );
}

/** The reason as the trail may have it. A number that can't be decrypted and is replaced is not looked for. */
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
    () => ctx.reads?.confirmed.add(stored.id),
  );
}

/**
 * What is to be stored of the number: a new one, or one that stays but is bound to the record's version, sealed for the
 * next version; undefined if the stored text stays. Fails if a bound number stays and can't be decrypted: under another
 * version it would be lost for good.
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
