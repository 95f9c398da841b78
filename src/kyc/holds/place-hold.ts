import { z } from "zod";
import { recordAct } from "../../administration/record-act.ts";
import { byViewer } from "../../audit/by-viewer.ts";
import { requireScope, type Viewer } from "../../auth/scopes.ts";
import type { OperationContext } from "../../context.ts";
import type { Executor } from "../../db/client.ts";
import { badUserInput } from "../../errors.ts";
import { findIdempotencyKeyFaults } from "../../idempotency/key.ts";
import { toKeyedWrite, writeOnce } from "../../idempotency/write-once.ts";
import { newKycId, toKycId } from "../../kyc-id.ts";
import { parseInput, type Raw } from "../../parse-input.ts";
import { kycNotFound } from "../get-kyc.ts";
import { anyTime, customerId, requiredReason } from "../input.ts";
import { MOST_COMPARED, toReasonWithoutNumbers } from "../reason-without-numbers.ts";
import type { Kyc } from "../record.ts";
import { keepKyc } from "../store/deletion.ts";
import { findSomeOfCustomer } from "../store/of-customer.ts";
import { excludeDeletions, findHold, findHoldsOn, insertHold, type LegalHold } from "./store.ts";

/** Holds in force on one record or customer. */
const MOST_HOLDS = 20;

const placeHoldInput = z
  .object({
    kycId: z.string().nullish(),
    customerId: customerId.nullish(),
    reason: requiredReason,
    until: anyTime.nullish(),
  })
  .refine((input) => (input.kycId == null) !== (input.customerId == null), {
    path: ["kycId"],
    message: "or customerId must be given, and not both",
  });
export type PlaceHoldInput = Raw<typeof placeHoldInput>;
type Placed = z.output<typeof placeHoldInput>;

/**
 * Places a hold on a record, or on a customer and all its records, those to come included; the customer needs no record.
 * Afterwards no path deletes what is held: a deletion at the same time is either done before, or refused. Writes the event.
 * Needs `kyc:hold`. Fails with NOT_FOUND if there is no such record, and with BAD_USER_INPUT, also if the end is not in the
 * future by the database's clock. With an idempotency key, a repetition returns the same hold as it is then.
 */
export async function placeHold(ctx: OperationContext, input: PlaceHoldInput): Promise<LegalHold> {
  const viewer = requireScope(ctx.viewer, "kyc:hold");
  const value = parseInput(placeHoldInput, input, findIdempotencyKeyFaults(ctx.idempotency));
  const keyed = toKeyedWrite<string, typeof value>(ctx, viewer, "placeHold", value);
  // The key's row is of the record: a deletion takes its result along. A hold on a customer leaves only its own id there.
  const id = await writeOnce(ctx, keyed, value.kycId == null ? "" : toKycId(value.kycId), (tx) =>
    value.customerId == null
      ? placeOnKyc(tx, ctx, viewer, value)
      : placeOnCustomer(tx, ctx, viewer, { ...value, customerId: value.customerId }),
  );
  return requireHold(ctx, viewer, id);
}

async function placeOnKyc(tx: Executor, ctx: OperationContext, viewer: Viewer, value: Placed) {
  const { accountId } = viewer;
  const stored = await keepKyc(tx, accountId, toKycId(value.kycId ?? ""));
  if (!stored) throw kycNotFound();
  const customerDigest = ctx.digestCustomer(accountId, stored.customerId);
  const others = await findHoldsOn(tx, accountId, [{ id: stored.id, customerDigest }]);
  requireRoom(others.filter(({ kycId }) => kycId !== null));
  const reason = await toReasonWithoutNumbers(ctx, viewer, value.reason, stored.customerId, [stored]);
  const target = { kycId: stored.id, customerId: null, customerDigest };
  return place(tx, ctx, viewer, { ...target, reason, until: value.until ?? null });
}

async function placeOnCustomer(
  tx: Executor,
  ctx: OperationContext,
  viewer: Viewer,
  value: Placed & { customerId: string },
) {
  const { accountId } = viewer;
  const { customerId } = value;
  await excludeDeletions(tx, accountId, customerId);
  const customerDigest = ctx.digestCustomer(accountId, customerId);
  requireRoom(await findHoldsOn(tx, accountId, [{ id: "", customerDigest }]));
  const records: Kyc[] = await findSomeOfCustomer(tx, accountId, customerId, MOST_COMPARED);
  const reason = await toReasonWithoutNumbers(ctx, viewer, value.reason, customerId, records);
  return place(tx, ctx, viewer, {
    ...{ kycId: null, customerId, customerDigest, reason, until: value.until ?? null },
  });
}

async function place(
  tx: Executor,
  ctx: OperationContext,
  viewer: Viewer,
  hold: Pick<LegalHold, "kycId" | "customerId" | "until"> & { customerDigest: Buffer; reason: string },
): Promise<string> {
  const { accountId } = viewer;
  const { kycId, customerDigest, reason } = hold;
  const id = `hold_${newKycId(ctx.now())}`;
  if (!(await insertHold(tx, { accountId, id, ...hold }))) {
    throw badUserInput([{ path: ["until"], kind: "invalid", message: "must be in the future" }]);
  }
  const act = { action: "hold_placed", subject: id, at: ctx.now(), reason, kycId, customerDigest } as const;
  await recordAct(tx, byViewer(ctx, viewer), act, accountId);
  return id;
}

function requireRoom(others: readonly LegalHold[]): void {
  if (others.length < MOST_HOLDS) return;
  const message = `is under ${MOST_HOLDS} holds already, which is as many as there may be`;
  throw badUserInput([
    { path: [others[0]?.kycId === null ? "customerId" : "kycId"], kind: "invalid", message },
  ]);
}

async function requireHold({ db }: OperationContext, { accountId }: Viewer, id: string): Promise<LegalHold> {
  const hold = await findHold(db, accountId, id);
  if (!hold) throw new Error("a hold that was placed is gone");
  return hold;
}
