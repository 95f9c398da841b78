import type { Database, Executor } from "../db/client.ts";
import { type Keyring, keyIdOf } from "../sealing/keyring.ts";
import type { Resealing, SealedPlace } from "../sealing/place.ts";
import { openNumber, sealNumber } from "./document-number.ts";
import type { SealedNumber } from "./kyc.ts";
import {
  countNumbersByKey,
  findNumbers,
  findPlainNumbers,
  isAnyNumberSealedUnder,
  listAccounts,
  replaceNumbers,
  type StoredNumber,
} from "./number-store.ts";

/** Records of one step: what others may have to wait for, in the database and in this process. */
const STEP = 200;

/** The document numbers of the records, as `keys list` and `keys rotate` see them. */
export const sealedNumbers: SealedPlace = {
  name: "document numbers",
  countByKey: async (db) => {
    const counts = new Map<string | null, number>();
    for await (const account of listAccounts(db, "all")) {
      for (const [keyId, count] of await unhurried(db, (tx) => countNumbersByKey(tx, account))) {
        counts.set(keyId, (counts.get(keyId) ?? 0) + count);
      }
    }
    return counts;
  },
  isSealedUnder: async (db, keyId) => {
    for await (const account of listAccounts(db, "all")) {
      if (await unhurried(db, (tx) => isAnyNumberSealedUnder(tx, account, keyId))) return true;
    }
    return false;
  },
  reseal: (db, keys, onStep) => resealWhere(db, keys, "all", onStep),
};

/**
 * Afterwards no record has a plain number that it had at the start: what an earlier release has left is sealed. It
 * may run while others write, and several at once. Once `signal` is aborted it stops after its step.
 */
export function sealPlainNumbers(db: Database, keys: Keyring, signal?: AbortSignal): Promise<Resealing> {
  return resealWhere(db, keys, "with plain numbers", () => {}, signal);
}

async function resealWhere(
  db: Database,
  keys: Keyring,
  which: "all" | "with plain numbers",
  onStep: (seen: number) => void,
  signal?: AbortSignal,
): Promise<Resealing> {
  const total: Resealing = { resealed: 0, unreadable: [] };
  const find = which === "all" ? findNumbers : findPlainNumbers;
  for await (const account of listAccounts(db, which)) {
    for (let after: string | undefined = ""; after !== undefined && !signal?.aborted; ) {
      const numbers: StoredNumber[] = await find(db, account, after, STEP);
      total.resealed += await resealSome(db, keys, account, numbers, total.unreadable, signal);
      onStep(numbers.length);
      after = numbers.length < STEP ? undefined : numbers.at(-1)?.id;
    }
    if (signal?.aborted) break;
  }
  return total;
}

async function resealSome(
  db: Database,
  keys: Keyring,
  accountId: string,
  numbers: readonly StoredNumber[],
  unreadable: string[],
  signal?: AbortSignal,
): Promise<number> {
  const replacements: { from: StoredNumber; to: SealedNumber }[] = [];
  for (const from of numbers) {
    if (from.sealedNumber !== null && keyIdOf(from.sealedNumber) === keys.newestId) continue;
    try {
      const number = openNumber(keys, accountId, from);
      replacements.push({ from, to: sealNumber(keys, accountId, from.id, number) });
    } catch {
      unreadable.push(`the record ${from.id} of the account ${accountId}`);
    }
  }
  return replacements.length > 0 ? replaceNumbers(db, accountId, replacements, signal) : 0;
}

/** A read of a whole account may take longer than any request would wait. */
function unhurried<T>(db: Database, read: (tx: Executor) => Promise<T>): Promise<T> {
  return db.transaction(read, Number.POSITIVE_INFINITY);
}
