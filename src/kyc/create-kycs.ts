import { hasScope, requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { type ItemOutcome, writeManyOnce } from "../idempotency/write-many-once.ts";
import { requireItems, toCanonical, tryItem, type WrittenKyc } from "./bulk.ts";
import { makeCreation, readCreation } from "./create-kyc.ts";
import type { CreateKycInput } from "./input.ts";
import { fromSnapshot, toSnapshot } from "./number/document-number.ts";
import type { Kyc } from "./record.ts";
import { ShownKyc } from "./show-kyc.ts";
import { insertKycs } from "./store/write.ts";

/**
 * Creates up to 100 records, each as `createKyc` does, with one statement. The outcomes are in the order of the items: a fault
 * of one leaves the others as they are. Needs `kyc:write`. Fails as a whole with BAD_USER_INPUT if there are too many items, and
 * if the database can't be reached: then nothing was written. With an idempotency key, a repetition gets the same outcomes.
 */
export async function createKycs(
  ctx: OperationContext,
  inputs: readonly CreateKycInput[],
): Promise<WrittenKyc[]> {
  const viewer = requireScope(ctx.viewer, "kyc:write");
  const { accountId } = viewer;
  requireItems(ctx, inputs);
  const read = inputs.map((input) => tryItem(() => readCreation(viewer, input, [])));
  // A valid item is compared as it was read, like that of a single write: equal input in another spelling is the same request.
  const canonical = inputs.map((input, index) => {
    const one = read[index];
    return toCanonical(one && !one.failure ? one.value : input);
  });
  const request = {
    name: "createKycs",
    items: canonical.map(({ item }) => item),
    maskedItems: canonical.map(({ masked }) => masked),
  };
  const outcomes = await writeManyOnce<Kyc>(ctx, viewer, request, async (tx) => {
    const made = read.map((one) => (one.failure ? one : makeCreation(ctx, viewer, one.value)));
    const creations = made.flatMap((one) => ("kyc" in one ? [one] : []));
    await insertKycs(tx, accountId, creations);
    return made.map((one, index): ItemOutcome<Kyc> => {
      const value = read[index];
      if (!("kyc" in one) || !value || value.failure) return one as ItemOutcome<Kyc>;
      return { kycId: one.kyc.id, result: toSnapshot(one.kyc, value.value.documentNumber) };
    });
  });
  return outcomes.map(({ result, failure }): WrittenKyc => {
    if (failure) return { kyc: null, error: failure };
    if (ctx.idempotency?.replayed && hasScope(viewer, "kyc:pii"))
      ctx.reads?.confirmed.set(result.id, result.customerId);
    return { kyc: new ShownKyc(ctx, fromSnapshot(result)), error: null };
  });
}
