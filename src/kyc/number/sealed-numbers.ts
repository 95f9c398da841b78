import type { Database, Executor } from "../../db/client.ts";
import { unhurried } from "../../db/unhurried.ts";
import { type Keyring, keyIdOf } from "../../sealing/keyring.ts";
import { recordMilestone } from "../../sealing/milestones.ts";
import type { Resealing, SealedPlace } from "../../sealing/place.ts";
import { goThrough, inSteps, resealTexts, type Texts } from "../../sealing/reseal.ts";
import type { SealedNumber } from "../record.ts";
import { isToBeBound, openNumber, sealNumber } from "./document-number.ts";
import {
  countNumbersByKey,
  findNumbers,
  findPlainNumbers,
  isAnyNumberSealedUnder,
  listAccounts,
  ownsRecords,
  refuseUnboundNumbers,
  replaceNumbers,
  type StoredNumber,
} from "./number-store.ts";

/** Records per step. Other work, in the database and in this process, may have to wait for one step. */
const STEP = 200;

/** The document numbers of the records, for the `keys` commands. */
export const sealedNumbers: SealedPlace = {
  name: "document numbers",
  settle: async (tx, keys, { isFirst, now }) => {
    if (!isFirst || !(await isNone(tx, "all"))) return;
    await recordMilestone(tx, keys, "numbers_sealed", now);
    // A role that may only read and write rows can't keep replicas of earlier releases from writing unbound numbers.
    if (!(await ownsRecords(tx))) return;
    await refuseUnboundNumbers(tx);
    await recordMilestone(tx, keys, "numbers_bind", now);
    await recordMilestone(tx, keys, "numbers_bound", now);
  },
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
  ...goThrough((db, keys) => textsOf(db, keys)),
};

/**
 * Seals all plain numbers that exist at the start; an earlier release has left them. It can run during writes, and several
 * times at once. After `signal` is aborted, it stops after its step.
 */
export function sealPlainNumbers(db: Database, keys: Keyring, signal?: AbortSignal): Promise<Resealing> {
  return resealTexts(textsOf(db, keys, { plainOnly: true, signal }));
}

/** Makes the database refuse plain numbers from now on. Returns false, and does nothing, if there still are any. */
export async function endPlainNumbers(db: Database, keys: Keyring, now: number): Promise<boolean> {
  if (!(await isNone(db, "with plain numbers"))) return false;
  await recordMilestone(db, keys, "numbers_sealed", now);
  return true;
}

const isNone = async (db: Executor, which: "all" | "with plain numbers") =>
  (await listAccounts(db, which).next()).done === true;

/** Whether it is sealed under the newest key and, if numbers must be bound to versions, bound. */
function isSealedAsNow(keys: Keyring, { sealedNumber, sealedVersion }: StoredNumber): boolean {
  if (sealedNumber === null || keyIdOf(sealedNumber) !== keys.newestId) return false;
  return sealedVersion !== null || !keys.reached.has("numbers_bind");
}

/** The numbers of all accounts, or only the plain ones. After `signal` is aborted, there is no further step. */
function textsOf(
  db: Database,
  keys: Keyring,
  { plainOnly = false, signal }: { plainOnly?: boolean; signal?: AbortSignal | undefined } = {},
): Texts<StoredNumber, SealedNumber> {
  const find = plainOnly ? findPlainNumbers : findNumbers;
  // Of the numbers in the current step.
  let account = "";
  async function* steps(): AsyncGenerator<readonly StoredNumber[]> {
    for await (account of listAccounts(db, plainOnly ? "with plain numbers" : "all")) {
      const numbers = inSteps(({ id }, limit) => find(db, account, id, limit), { id: "" }, STEP);
      for await (const some of numbers) {
        if (signal?.aborted) return;
        yield some;
      }
    }
  }
  return {
    steps: steps(),
    nameOf: ({ id }) => ({ kind: "record", account, id }),
    isDone: (number) => isSealedAsNow(keys, number),
    open: (from) => {
      const number = openNumber(keys, account, from);
      return () => sealNumber(keys, account, from, number, isToBeBound(keys, from));
    },
    replace: (replacements) => replaceNumbers(db, account, replacements, signal),
  };
}
