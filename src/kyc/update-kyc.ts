import type { z } from "zod";
import { CHANGEABLE_FIELDS, newEvent } from "../audit/event.ts";
import { hasScope, requireScope, type Viewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { Executor } from "../db/client.ts";
import { AppError, badUserInput, type FieldFault } from "../errors.ts";
import { findKeyFaults } from "../idempotency/key.ts";
import { toKeyedWrite, writeOnce } from "../idempotency/write-once.ts";
import type { Keyring } from "../sealing/keyring.ts";
import {
  fromSnapshot,
  isToBeBound,
  MASK,
  maskInput,
  maskNumber,
  openNumber,
  sealNumber,
  toSnapshot,
} from "./document-number.ts";
import { kycNotFound } from "./get-kyc.ts";
import { IS_MASKED, readInput, type UpdateKycInput, updateKycInput } from "./input.ts";
import { type Kyc, type SealedNumber, toKycId } from "./kyc.ts";
import { toAuditReason } from "./reason.ts";
import { ShownKyc } from "./show-kyc.ts";
import { findKyc, lockKyc } from "./store.ts";
import { type KycChange, updateLocked, updateKyc as writeKyc } from "./write-store.ts";

/** What a client may send back of a record, but not change, as its surface takes it. */
interface FixedFields {
  /** Those that were given, in one order, with a value that is the same however it was written. */
  given: readonly (readonly [name: string, value: unknown])[];
  /** The faults of those that are not the stored record's. */
  findChanged(stored: Kyc): FieldFault[];
}

const NO_FIXED: FixedFields = { given: [], findChanged: () => [] };

/**
 * Afterwards the record has the given values, and if any of them is new, one version more and one event in the trail;
 * fields that are absent stay as they are, so repeating is safe, but an unmasked number from a viewer without
 * `kyc:pii` makes a new version each time. Under the same idempotency key it answers the record as it was then. Needs `kyc:write`. Fails with BAD_USER_INPUT (every fault named; `found`
 * are those that the surface met already), NOT_FOUND, and VERSION_CONFLICT where versions are expected and the record's is none of them.
 */
export async function updateKyc(
  ctx: OperationContext,
  input: UpdateKycInput,
  found: readonly FieldFault[] = [],
  fixed = NO_FIXED,
): Promise<ShownKyc> {
  const viewer = requireScope(ctx.viewer, "kyc:write");
  const { accountId } = viewer;
  const { value, faults } = readInput(updateKycInput, input, [...found, ...findKeyFaults(ctx.idempotency)]);
  const id = toKycId(input.id);
  // A client that sent none asks for the same over either surface. On a replay they are those of another time.
  const operation = value && {
    ...listVersions(value),
    ...(fixed.given.length > 0 && { fixed: fixed.given }),
  };
  const keyed = operation
    ? toKeyedWrite<Kyc, typeof operation>(ctx, viewer, "updateKyc", operation, maskInput)
    : null;
  const plan = (stored: Kyc | undefined): KycChange | null => {
    const others = [...faults, ...(stored ? fixed.findChanged(stored) : [])];
    const masked = stored ? findForeignMask(ctx.keys, accountId, stored, input.documentNumber) : [];
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
    return toSnapshot(kyc, openNumber(ctx.keys, accountId, kyc));
  });
  return new ShownKyc(ctx, fromSnapshot(kyc));
}

/** The change to a record as it was read; null where nothing of it changes. Fails where it may not be changed so. */
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
    if (await writeKyc(db, accountId, change)) return change.kyc;
  }
  return db.transaction((tx) => changeLocked(tx, accountId, id, plan));
}

async function changeLocked(tx: Executor, accountId: string, id: string, plan: Plan): Promise<Kyc> {
  const stored = await lockKyc(tx, accountId, id);
  const change = plan(stored);
  if (!change) return stored as Kyc;
  await updateLocked(tx, accountId, change);
  return change.kyc;
}

function planChange(
  ctx: OperationContext,
  viewer: Viewer,
  stored: Kyc,
  input: z.output<typeof updateKycInput>,
): KycChange | null {
  const { accountId } = viewer;
  const { verificationStatus = stored.verificationStatus, documentType = stored.documentType } = input;
  // Before the number: to seal another one takes time, by which a refusal would tell whether it is the record's.
  const reason = toAuditReason(viewer, input.reason, input.documentNumber, () =>
    openNumber(ctx.keys, accountId, stored),
  );
  const number = sealNewNumber(ctx.keys, viewer, stored, input.documentNumber);
  const changedFields = CHANGEABLE_FIELDS.filter((name) =>
    name === "documentNumber" ? number : stored[name] !== { verificationStatus, documentType }[name],
  );
  if (changedFields.length === 0) return null;
  const sealed = number ?? resealKeptNumber(ctx.keys, accountId, stored);
  const kyc: Kyc = {
    id: stored.id,
    customerId: stored.customerId,
    verificationStatus,
    documentType,
    sealedNumber: sealed ? sealed.sealedNumber : stored.sealedNumber,
    sealedVersion: sealed ? sealed.sealedVersion : null,
    plainNumber: sealed ? null : stored.plainNumber,
    createdAt: stored.createdAt,
    updatedAt: Math.max(stored.updatedAt, ctx.now()),
    version: stored.version + 1,
    // A number that came need not be decrypted for the answer, and one that stays is opened at most once.
    openOnce: number ? () => input.documentNumber as string : (open) => stored.openOnce?.(open) ?? open(),
  };
  const event = newEvent(ctx, viewer, {
    action: "updated",
    at: kyc.updatedAt,
    kycIds: [stored.id],
    changedFields,
    reason,
    statusBefore: stored.verificationStatus,
    statusAfter: verificationStatus,
  });
  return { kyc, number: sealed, event };
}

/** On which versions of a record something may be done. */
interface Condition {
  /** One of these. Undefined: any. */
  expectedVersion?: number | readonly number[] | undefined;
  /** None of these. */
  unwantedVersion?: "any" | readonly number[] | undefined;
}

/**
 * Fails with VERSION_CONFLICT unless the record is at one of the expected versions and at none of the unwanted ones.
 * Without a record no version is expected, and none is unwanted.
 */
export function requireVersion(
  stored: { version: number } | undefined,
  { expectedVersion, unwantedVersion = [] }: Condition,
): void {
  const version = stored?.version;
  const isOneOf = (versions: number | readonly number[]) =>
    version !== undefined && [versions].flat().includes(version);
  const conflict = (message: string) =>
    new AppError("VERSION_CONFLICT", message, { currentVersion: version });
  if (expectedVersion !== undefined && !isOneOf(expectedVersion)) {
    if (version === undefined) throw conflict("Nothing here is at a version.");
    throw conflict(`The record has changed: it is at version ${version} now.`);
  }
  if (unwantedVersion === "any" ? stored : isOneOf(unwantedVersion)) {
    throw conflict(`The record is at version ${version}, at which the request rules itself out.`);
  }
}

/**
 * A fault where the number is masked and is not the record's own as a token without `kyc:pii` sees it: such a token
 * may send a record back as it came.
 */
function findForeignMask(keys: Keyring, accountId: string, stored: Kyc, number: unknown): FieldFault[] {
  if (typeof number !== "string" || !number.includes(MASK)) return [];
  const known = openNumber(keys, accountId, stored);
  if (number.trim() === maskNumber(known)) return [];
  return [{ path: ["documentNumber"], kind: "invalid", message: IS_MASKED }];
}

/**
 * The number, sealed, if it is to be written. A viewer who may not see numbers has each unmasked one written, equal or
 * not: if an equal one changed nothing, the answer would tell that a guess was right.
 */
function sealNewNumber(
  keys: Keyring,
  viewer: Viewer,
  stored: Kyc,
  number: string | undefined,
): SealedNumber | undefined {
  const { accountId } = viewer;
  // A mask that is not the record's own was refused before.
  if (number === undefined || number.includes(MASK)) return undefined;
  if (hasScope(viewer, "kyc:pii") && number === openNumber(keys, accountId, stored)) return undefined;
  return sealNumber(keys, accountId, nextOf(stored), number, isToBeBound(keys, stored));
}

/** The number that a change leaves as it is, sealed for the next version; undefined if it needs no other sealing. */
function resealKeptNumber(keys: Keyring, accountId: string, stored: Kyc): SealedNumber | undefined {
  if (!isToBeBound(keys, stored)) return undefined;
  return sealNumber(keys, accountId, nextOf(stored), openNumber(keys, accountId, stored), true);
}

const nextOf = ({ id, version }: Kyc) => ({ id, version: version + 1 });

/** The same input, however its versions are written. */
export function listVersions<T extends Condition>(input: T): T {
  const { expectedVersion, unwantedVersion } = input;
  const inOrder = (versions: number | readonly number[]) =>
    [...new Set([versions].flat())].sort((a, b) => a - b);
  return {
    ...input,
    ...(expectedVersion !== undefined && { expectedVersion: inOrder(expectedVersion) }),
    ...(unwantedVersion !== undefined && {
      unwantedVersion: unwantedVersion === "any" ? unwantedVersion : inOrder(unwantedVersion),
    }),
  };
}
