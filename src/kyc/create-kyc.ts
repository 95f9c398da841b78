import type { z } from "zod";
import { type NewAuditEvent, newEvent } from "../audit/event.ts";
import { hasScope, requireScope, type Viewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { DatabaseError } from "../db/database-error.ts";
import type { FieldFault } from "../errors.ts";
import { findIdempotencyKeyFaults } from "../idempotency/key.ts";
import { toKeyedWrite } from "../idempotency/write-once.ts";
import { newKycId } from "../kyc-id.ts";
import { parseInput } from "../parse-input.ts";
import { RecordValues } from "./fields.ts";
import { type CreateKycInput, createKycInput } from "./input.ts";
import { fromSnapshot, maskInput, sealNumber, toSnapshot } from "./number/document-number.ts";
import { toAuditReason } from "./reason.ts";
import type { Kyc } from "./record.ts";
import { ShownKyc } from "./show-kyc.ts";
import { insertKyc, insertKycOnce, type NewKyc } from "./store/write.ts";
import { requireVersion } from "./version-condition.ts";

const ID_IS_UNIQUE = "kycs_account_id_id_pk";

/**
 * Creates a record of the viewer's account, at version 1 and with its number sealed, together with its event. Repeating
 * the call creates another record, unless the request has an idempotency key: then a repetition returns the record as it
 * was created. Needs `kyc:write`. Fails with BAD_USER_INPUT, naming every fault (`found` are those that the surface has
 * found), and with VERSION_CONFLICT if a version is expected, because there is no record yet.
 */
export async function createKyc(
  ctx: OperationContext,
  input: CreateKycInput,
  found: readonly FieldFault[] = [],
): Promise<ShownKyc> {
  const viewer = requireScope(ctx.viewer, "kyc:write");
  const { accountId } = viewer;
  const value = readCreation(viewer, input, [...found, ...findIdempotencyKeyFaults(ctx.idempotency)]);
  const keyed = toKeyedWrite<Kyc, typeof value>(ctx, viewer, "createKyc", value, maskInput);
  for (;;) {
    const { kyc, event } = makeCreation(ctx, viewer, value);
    const { id } = kyc;
    try {
      if (!keyed) {
        await insertKyc(ctx.db, accountId, kyc, event);
        return new ShownKyc(ctx, kyc);
      }
      const claim = keyed.claimWith(id, { result: toSnapshot(kyc, value.documentNumber) });
      const finding = await insertKycOnce(ctx.db, accountId, kyc, event, claim);
      if (finding.claimedFor === id) return new ShownKyc(ctx, kyc);
      const first = keyed.replay(finding);
      if (first) {
        if (hasScope(viewer, "kyc:pii")) ctx.reads?.confirmed.set(first.result.id, first.result.customerId);
        return new ShownKyc(ctx, fromSnapshot(first.result));
      }
    } catch (error) {
      // The new id exists already, which needs two equal random parts in one millisecond. Try again with another id.
      if (!(error instanceof DatabaseError && error.constraint === ID_IS_UNIQUE)) throw error;
    }
  }
}

type Creation = z.output<typeof createKycInput>;

/** The input of a new record. Fails as `createKyc` does, naming every fault. */
export function readCreation(viewer: Viewer, input: CreateKycInput, found: readonly FieldFault[]): Creation {
  const value = parseInput(createKycInput, input, found);
  requireVersion(undefined, value);
  return { ...value, reason: toAuditReason(viewer, value.reason, value.documentNumber) };
}

/** A new record with its sealed number and its event. Nothing is written. */
export function makeCreation(
  ctx: OperationContext,
  viewer: Viewer,
  value: Creation,
): { kyc: NewKyc; event: NewAuditEvent } {
  const { documentNumber, reason } = value;
  const now = ctx.now();
  const id = newKycId(now);
  const number = sealNumber(ctx.keys, viewer.accountId, { id, version: 1 }, documentNumber);
  const kyc: NewKyc = {
    ...new RecordValues({ ...value, id, createdAt: now, updatedAt: now, statusSince: now, version: 1 }),
    sealedNumber: number.sealedNumber,
    sealedVersion: number.sealedVersion,
    numberDigest: number.numberDigest,
    plainNumber: null,
    // We already have the plaintext: don't decrypt it for the answer.
    openOnce: () => documentNumber,
  };
  const event = newEvent(ctx, viewer, {
    action: "created",
    at: now,
    records: [kyc],
    statusAfter: kyc.verificationStatus,
    documentTypeAfter: kyc.documentType,
    versionAfter: kyc.version,
    reason,
  });
  return { kyc, event };
}
