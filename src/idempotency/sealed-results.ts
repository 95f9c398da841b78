import type { Database, Executor } from "../db/client.ts";
import { type Keyring, keyIdOf } from "../sealing/keyring.ts";
import type { Resealing, SealedPlace } from "../sealing/place.ts";
import {
  countResultsByKey,
  findResults,
  isAnyResultSealedUnder,
  replaceResults,
  type StoredResult,
} from "./result-store.ts";

/** Results of one step: what others may have to wait for, in the database and in this process. */
const STEP = 200;

/** What is bound to a sealed result: it opens as the result of this key alone. No account's name has a space. */
export const placeOf = (accountId: string, keyHash: string) => `idempotency_keys ${accountId} ${keyHash}`;

/** What the ledger keeps to answer again, as `keys list` and `keys rotate` see it. */
export const sealedResults: SealedPlace = {
  name: "answers of idempotency keys",
  countByKey: (db) => unhurried(db, async (tx) => new Map(await countResultsByKey(tx))),
  isSealedUnder: (db, keyId) => unhurried(db, (tx) => isAnyResultSealedUnder(tx, keyId)),
  reseal: async (db, keys, onStep) => {
    const total: Resealing = { resealed: 0, unreadable: [] };
    let after: Pick<StoredResult, "accountId" | "keyHash"> | undefined = { accountId: "", keyHash: "" };
    while (after) {
      const results = await findResults(db, after, STEP);
      total.resealed += await resealSome(db, keys, results, total.unreadable);
      onStep(results.length);
      after = results.length < STEP ? undefined : results.at(-1);
    }
    return total;
  },
};

async function resealSome(
  db: Database,
  keys: Keyring,
  results: readonly StoredResult[],
  unreadable: string[],
): Promise<number> {
  const replacements: { from: StoredResult; sealed: string }[] = [];
  for (const from of results) {
    if (keyIdOf(from.sealedResult) === keys.newestId) continue;
    const place = placeOf(from.accountId, from.keyHash);
    try {
      replacements.push({ from, sealed: keys.seal(keys.open(from.sealedResult, place), place) });
    } catch {
      unreadable.push(`an idempotency key of the account ${from.accountId}`);
    }
  }
  return replacements.length > 0 ? replaceResults(db, replacements) : 0;
}

/** Reads of the whole ledger may take longer than any request would wait. */
function unhurried<T>(db: Database, read: (tx: Executor) => Promise<T>): Promise<T> {
  return db.transaction(read, Number.POSITIVE_INFINITY);
}
