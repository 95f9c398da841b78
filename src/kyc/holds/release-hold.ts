import { z } from "zod";
import { recordAct } from "../../administration/record-act.ts";
import { byViewer } from "../../audit/by-viewer.ts";
import { requireScope } from "../../auth/scopes.ts";
import type { OperationContext } from "../../context.ts";
import { AppError } from "../../errors.ts";
import { findIdempotencyKeyFaults } from "../../idempotency/key.ts";
import { toKeyedWrite, writeOnce } from "../../idempotency/write-once.ts";
import { parseInput, type Raw } from "../../parse-input.ts";
import { requiredReason } from "../input.ts";
import { MOST_COMPARED, toReasonWithoutNumbers } from "../reason-without-numbers.ts";
import { findSomeOfCustomer } from "../store/of-customer.ts";
import { findKycs } from "../store/read.ts";
import { findHold, type LegalHold, releaseStored } from "./store.ts";

const releaseHoldInput = z.object({ id: z.string(), reason: requiredReason });
export type ReleaseHoldInput = Raw<typeof releaseHoldInput>;

/**
 * Releases a hold, and writes the event. One that was released before stays as it is, without an event. What it was on can
 * be deleted then, unless another hold is on it. Needs `kyc:hold`. Fails with NOT_FOUND and BAD_USER_INPUT.
 */
export async function releaseHold(ctx: OperationContext, input: ReleaseHoldInput): Promise<LegalHold> {
  const viewer = requireScope(ctx.viewer, "kyc:hold");
  const { accountId } = viewer;
  const value = parseInput(releaseHoldInput, input, findIdempotencyKeyFaults(ctx.idempotency));
  const keyed = toKeyedWrite<string, typeof value>(ctx, viewer, "releaseHold", value);
  await writeOnce(ctx, keyed, "", async (tx) => {
    const hold = await findHold(tx, accountId, value.id);
    if (!hold) throw holdNotFound();
    const { id, kycId, customerDigest } = hold;
    const records =
      kycId !== null
        ? await findKycs(tx, accountId, [kycId])
        : hold.customerId === null
          ? []
          : await findSomeOfCustomer(tx, accountId, hold.customerId, MOST_COMPARED);
    const customerId = hold.customerId ?? records[0]?.customerId;
    const reason =
      customerId === undefined
        ? value.reason
        : await toReasonWithoutNumbers(ctx, viewer, value.reason, customerId, records);
    if (await releaseStored(tx, accountId, id, reason)) {
      const act = {
        action: "hold_released",
        subject: id,
        at: ctx.now(),
        reason,
        kycId,
        customerDigest,
      } as const;
      await recordAct(tx, byViewer(ctx, viewer), act, accountId);
    }
    return id;
  });
  const hold = await findHold(ctx.db, accountId, value.id);
  if (!hold) throw holdNotFound();
  return hold;
}

function holdNotFound(): AppError {
  return new AppError("NOT_FOUND", "There is no hold with this id.");
}
