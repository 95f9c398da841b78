import { unhurried } from "../db/unhurried.ts";
import { type Keyring, keyIdOf } from "../sealing/keyring.ts";
import { pad } from "../sealing/padding.ts";
import type { SealedPlace } from "../sealing/place.ts";
import { goThrough, inSteps } from "../sealing/reseal.ts";
import {
  countResultsByKey,
  findResults,
  isAnyResultSealedUnder,
  replaceResults,
  type StoredResult,
} from "./result-store.ts";

/** Results per step. Other work, in the database and in this process, may have to wait for one step. */
const STEP = 200;

/** The associated data: a sealed result opens only for this key. Account ids contain no space. */
const associatedDataOf = (accountId: string, keyHash: string) => `idempotency_keys ${accountId} ${keyHash}`;

/** Trailing blanks don't change the meaning of JSON. */
const FILLER = " ";

/** Seals the JSON text, padded, so that its length does not reveal the length of the number in it. */
export function sealResult(keys: Keyring, accountId: string, keyHash: string, json: string): string {
  return keys.seal(pad(json, FILLER), associatedDataOf(accountId, keyHash));
}

/** Opens the JSON text. Fails as `Keyring.open` does. */
export function openResult(keys: Keyring, accountId: string, keyHash: string, sealed: string): string {
  return keys.open(sealed, associatedDataOf(accountId, keyHash)).trimEnd();
}

/** The stored answers of idempotency keys, for the `keys` commands. */
export const sealedResults: SealedPlace = {
  name: "answers of idempotency keys",
  countByKey: (db) => unhurried(db, async (tx) => new Map(await countResultsByKey(tx))),
  isSealedUnder: (db, keyId) => unhurried(db, (tx) => isAnyResultSealedUnder(tx, keyId)),
  ...goThrough<StoredResult, string>((db, keys) => ({
    steps: inSteps((after, limit) => findResults(db, after, limit), { accountId: "", keyHash: "" }, STEP),
    nameOf: ({ accountId, keyHash }) => ({ kind: "answer", account: accountId, id: keyHash }),
    isDone: ({ sealedResult }) => keyIdOf(sealedResult) === keys.newestId,
    open: ({ accountId, keyHash, sealedResult }) => {
      const json = openResult(keys, accountId, keyHash, sealedResult);
      return () => sealResult(keys, accountId, keyHash, json);
    },
    replace: (replacements) =>
      replaceResults(
        db,
        replacements.map(({ from, to }) => ({ from, sealed: to })),
      ),
  })),
};
