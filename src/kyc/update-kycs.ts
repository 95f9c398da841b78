import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { Executor } from "../db/client.ts";
import { type ItemOutcome, writeManyOnce } from "../idempotency/write-many-once.ts";
import { untilTurn } from "../lib/turns.ts";
import { requireItems, toCanonical, tryItem, type WrittenKyc } from "./bulk.ts";
import type { UpdateKycInput } from "./input.ts";
import { fromSnapshot } from "./number/document-number.ts";
import type { Kyc } from "./record.ts";
import { ShownKyc } from "./show-kyc.ts";
import { lockKycs } from "./store/read.ts";
import { type KycChange, updateKycsAtVersion } from "./store/write.ts";
import { confirmReplayed, planUpdate, toKept } from "./update-kyc.ts";
import { listVersions } from "./version-condition.ts";

/**
 * Changes up to 100 records, each as `updateKyc` does. The outcomes are in the order of the items: a fault of one leaves the
 * others as they are. All records are locked by one statement and written by another; if a record occurs several times, its
 * changes are made one after another, with one statement each. Needs `kyc:write`. Fails as a whole with BAD_USER_INPUT if there
 * are too many items, and if the database can't be reached: then nothing was written. With an idempotency key, a repetition
 * gets the same outcomes.
 */
export async function updateKycs(
  ctx: OperationContext,
  inputs: readonly UpdateKycInput[],
): Promise<WrittenKyc[]> {
  const viewer = requireScope(ctx.viewer, "kyc:write");
  const { accountId } = viewer;
  requireItems(ctx, inputs);
  const updates = inputs.map((input) => tryItem(() => planUpdate(ctx, viewer, input, [])));
  // A valid item is compared as it was read, like that of a single write: equal input in another spelling is the same request.
  const canonical = inputs.map((input, index) => {
    const update = updates[index];
    const value = update && !update.failure ? update.value.value : undefined;
    return toCanonical(value ? listVersions(value) : input);
  });
  const request = {
    name: "updateKycs",
    items: canonical.map(({ item }) => item),
    maskedItems: canonical.map(({ masked }) => masked),
  };
  const outcomes = await writeManyOnce<Kyc>(ctx, viewer, request, async (tx) => {
    const ids = updates.flatMap((update) => (update.failure ? [] : [update.value.id]));
    const records = new Map((await lockKycs(tx, accountId, ids)).map((kyc) => [kyc.id, kyc]));
    const done: ItemOutcome<Kyc>[] = [];
    for (const wave of wavesOf(updates.map((update) => (update.failure ? undefined : update.value.id)))) {
      const changes: KycChange[] = [];
      for (const index of wave) {
        const turn = untilTurn();
        if (turn) await turn;
        const update = updates[index];
        if (!update || update.failure) {
          done[index] = update as { failure: NonNullable<typeof update>["failure"] } as ItemOutcome<Kyc>;
          continue;
        }
        const { id, plan } = update.value;
        const planned = tryItem(() => plan(records.get(id)));
        if (planned.failure) {
          done[index] = planned;
          continue;
        }
        if (planned.value) changes.push(planned.value);
        const kyc = planned.value?.kyc ?? (records.get(id) as Kyc);
        records.set(id, kyc);
        done[index] = { kycId: id, result: toKept(ctx, accountId, kyc) };
      }
      await writeAll(tx, accountId, changes);
    }
    return done;
  });
  return outcomes.map(({ result, failure }, index): WrittenKyc => {
    if (failure) return { kyc: null, error: failure };
    if (ctx.idempotency?.replayed) confirmReplayed(ctx, viewer, result, inputs[index]?.documentNumber);
    return { kyc: new ShownKyc(ctx, fromSnapshot(result)), error: null };
  });
}

async function writeAll(tx: Executor, accountId: string, changes: readonly KycChange[]): Promise<void> {
  if (changes.length === 0) return;
  const written = await updateKycsAtVersion(tx, accountId, changes);
  if (written.length !== changes.length)
    throw new Error("a record that the transaction has locked could not be changed");
}

/** The indexes of the ids in groups that have each id once, in their order. */
function wavesOf(ids: readonly (string | undefined)[]): number[][] {
  const waves: number[][] = [];
  const times = new Map<string, number>();
  for (const [index, id] of ids.entries()) {
    const wave = id === undefined ? 0 : (times.get(id) ?? 0);
    if (id !== undefined) times.set(id, wave + 1);
    waves[wave] ??= [];
    waves[wave].push(index);
  }
  return waves;
}
