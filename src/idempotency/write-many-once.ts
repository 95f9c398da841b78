import { hasScope, type Viewer } from "../auth/scopes.ts";
import type { Database, Executor } from "../db/client.ts";
import { AppError } from "../errors.ts";
import type { Keyring } from "../sealing/keyring.ts";
import type { IdempotencyRequest } from "./key.ts";
import { claimKey, claimKeys, completeKey } from "./store.ts";
import { KeyedWrite, keyMismatch, toKeyedWrite } from "./write-once.ts";

/** The outcome of one item of a write: its result, which is about a record, or why it failed. */
export type ItemOutcome<Result> =
  | { kycId: string; result: Result; failure?: undefined }
  | { kycId?: undefined; result?: undefined; failure: AppError };

/** The request of a write of several items as canonical texts: as it is, and as a viewer without `kyc:pii` would see it. */
interface ManyRequest {
  name: string;
  items: readonly unknown[];
  maskedItems: readonly unknown[];
}

/** An item's failure as it is kept, or null if the item has a result. */
type KeptFailure = Pick<AppError, "code" | "message" | "faults" | "currentVersion" | "detail"> | null;

/**
 * Does the work for all items in one transaction or, under the key of an earlier request, returns that request's outcomes. The
 * results of the items are stored separately, each for its record: the deletion of a record deletes its result, and a
 * repetition then gets NOT_FOUND for it. Failures of items are stored; if the work fails as a whole, the key stays unused.
 */
export async function writeManyOnce<Result>(
  ctx: { db: Database; keys: Keyring; idempotency: IdempotencyRequest | null },
  viewer: Viewer,
  { name, items, maskedItems }: ManyRequest,
  work: (tx: Executor) => Promise<ItemOutcome<Result>[]>,
): Promise<ItemOutcome<Result>[]> {
  const { db, idempotency, keys } = ctx;
  const { accountId } = viewer;
  const asked = { items: JSON.stringify(items) };
  const masked = { items: JSON.stringify(maskedItems) };
  const keyed = toKeyedWrite<KeptFailure[], typeof asked>(ctx, viewer, name, asked, () => masked);
  if (!keyed || !idempotency) return db.transaction(work);
  // No key of a client contains a line feed.
  const keyOf = (index: number) => {
    const request = { header: `${idempotency.header}\n${index}`, replayed: false };
    return new KeyedWrite<Result>(keys, request, viewer, name, name);
  };
  // The lock of the request's own key, which is held already, is enough for all of them.
  const { lock } = keyed.claim("");
  return db.transaction(async (tx) => {
    for (;;) {
      const finding = await claimKey(tx, accountId, keyed.claim(""));
      if (finding.claimedFor !== null) break;
      const first = keyed.replay(finding);
      if (!first) continue;
      if (!hasScope(viewer, "kyc:pii") && first.result.some(concernsReason)) {
        idempotency.replayed = false;
        throw keyMismatch();
      }
      return readKept(tx, accountId, first.result, keyOf, lock);
    }
    const outcomes = await work(tx);
    const claims = outcomes.flatMap(({ kycId, result }, index) =>
      kycId === undefined ? [] : [{ ...keyOf(index).claimWith(kycId, { result }), lock }],
    );
    if (claims.length > 0) await claimKeys(tx, accountId, claims);
    const kept = outcomes.map(({ failure }): KeptFailure => (failure ? toKeptFailure(failure) : null));
    await completeKey(tx, accountId, keyed.claimWith("", { result: kept }));
    return outcomes;
  });
}

/**
 * Whether a failure is about a reason. It can say that the reason contains the document number, and so confirm a number that
 * somebody else has sent: a repetition with a right guess gets the same answer as one with a wrong guess.
 */
const concernsReason = (failure: KeptFailure) =>
  failure?.faults.some(({ path }) => path[0] === "reason") ?? false;

function toKeptFailure({ code, message, faults, currentVersion, detail }: AppError): KeptFailure {
  return { code, message, faults, currentVersion, detail };
}

/** The outcomes of the first request under a key, with the results of the records that still exist. */
async function readKept<Result>(
  tx: Executor,
  accountId: string,
  kept: readonly KeptFailure[],
  keyOf: (index: number) => KeyedWrite<Result>,
  lock: string,
): Promise<ItemOutcome<Result>[]> {
  const succeeded = kept.flatMap((failure, index) => (failure ? [] : [index]));
  const claims = succeeded.map((index) => ({ ...keyOf(index).claim(""), lock }));
  const findings = claims.length > 0 ? await claimKeys(tx, accountId, claims) : [];
  const found = new Map(succeeded.map((index, at) => [index, findings[at]]));
  return kept.map((failure, index): ItemOutcome<Result> => {
    const finding = found.get(index);
    if (failure || !finding) {
      const { code = "INTERNAL", message = "", faults = [], currentVersion, detail } = failure ?? {};
      const options = { faults, currentVersion, ...(detail !== undefined && { detail }) };
      return { failure: new AppError(code, message, options) };
    }
    try {
      const first = keyOf(index).replay(finding);
      if (first) return { kycId: "", result: first.result };
    } catch (error) {
      if (error instanceof AppError && error.code === "NOT_FOUND") return { failure: error };
      throw error;
    }
    throw new Error("the result of an item is gone, and its request's key is not");
  });
}
