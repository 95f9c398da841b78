import type { Database, Executor } from "../db/client.ts";
import { type Keyring, keyIdOf } from "../sealing/keyring.ts";
import { pad } from "../sealing/padding.ts";
import { describeFailure, type Resealing, type SealedPlace } from "../sealing/place.ts";
import {
  countResultsByKey,
  findResults,
  isAnyResultSealedUnder,
  replaceResults,
  type StoredResult,
} from "./result-store.ts";

/** Results of one step: what others may have to wait for, in the database and in this process. */
const STEP = 200;

/** The associated data: a sealed result opens only for this key. Account ids contain no space. */
const placeOf = (accountId: string, keyHash: string) => `idempotency_keys ${accountId} ${keyHash}`;

/** Trailing blanks don't change the meaning of JSON. */
const FILLER = " ";

/** Seals the JSON text, padded, so that its length does not reveal the length of the number in it. */
export function sealResult(keys: Keyring, accountId: string, keyHash: string, json: string): string {
  return keys.seal(pad(json, FILLER), placeOf(accountId, keyHash));
}

/** Opens the JSON text. Fails as `Keyring.open` does. */
export function openResult(keys: Keyring, accountId: string, keyHash: string, sealed: string): string {
  return keys.open(sealed, placeOf(accountId, keyHash)).trimEnd();
}

/** The answers that the ledger keeps to repeat, as the `keys` commands see them. */
export const sealedResults: SealedPlace = {
  name: "answers of idempotency keys",
  countByKey: (db) => unhurried(db, async (tx) => new Map(await countResultsByKey(tx))),
  isSealedUnder: (db, keyId) => unhurried(db, (tx) => isAnyResultSealedUnder(tx, keyId)),
  reseal: (db, keys, onStep) => visit(db, keys, { writes: true, onStep }),
  check: async (db, keys, onStep) => (await visit(db, keys, { writes: false, onStep })).unreadable,
};

/** Opens all results, or if it `writes`, those that are not sealed under the newest key, which it seals anew. */
async function visit(
  db: Database,
  keys: Keyring,
  { writes, onStep }: { writes: boolean; onStep: (seen: number) => void },
): Promise<Resealing> {
  const total: Resealing = { resealed: 0, unreadable: [] };
  let after: Pick<StoredResult, "accountId" | "keyHash"> | undefined = { accountId: "", keyHash: "" };
  while (after) {
    const results: StoredResult[] = await findResults(db, after, STEP);
    const replacements: { from: StoredResult; sealed: string }[] = [];
    for (const from of results) {
      if (writes && keyIdOf(from.sealedResult) === keys.newestId) continue;
      try {
        const text = openResult(keys, from.accountId, from.keyHash, from.sealedResult);
        if (writes) replacements.push({ from, sealed: sealResult(keys, from.accountId, from.keyHash, text) });
      } catch (error) {
        const { accountId: account, keyHash: id } = from;
        total.unreadable.push({ kind: "answer", account, id, why: describeFailure(error) });
      }
    }
    if (replacements.length > 0) total.resealed += await replaceResults(db, replacements);
    onStep(results.length);
    after = results.length < STEP ? undefined : results.at(-1);
  }
  return total;
}

/** Reads of the whole ledger may take longer than any request would wait. */
function unhurried<T>(db: Database, read: (tx: Executor) => Promise<T>): Promise<T> {
  return db.transaction(read, Number.POSITIVE_INFINITY);
}
