import type { Database } from "../db/client.ts";
import type { Keyring } from "./keyring.ts";
import { describeFailure, type Resealing, type SealedPlace, type Unreadable } from "./place.ts";

/** How to visit the texts of one SealedPlace. `Sealed` is what replaces a stored text. */
export interface Texts<Stored, Sealed> {
  /** All of them, in steps. */
  steps: AsyncIterable<readonly Stored[]>;
  nameOf(stored: Stored): Omit<Unreadable, "why">;
  /** Whether the text is sealed as it would be sealed now. */
  isDone(stored: Stored): boolean;
  /** Opens a text and returns a function that seals it as it would be sealed now. Fails if it can't be opened. */
  open(stored: Stored): () => Sealed;
  /** Writes replacements, each unless the text has changed since it was read; returns how many it wrote. */
  replace(replacements: readonly Replacement<Stored, Sealed>[]): Promise<number>;
}

interface Replacement<Stored, Sealed> {
  from: Stored;
  to: Sealed;
}

/** The functions of a SealedPlace that visit all its texts. */
export function goThrough<Stored, Sealed>(
  textsOf: (db: Database, keys: Keyring) => Texts<Stored, Sealed>,
): Pick<SealedPlace, "reseal" | "check"> {
  return {
    reseal: (db, keys, onStep) => resealTexts(textsOf(db, keys), onStep),
    check: (db, keys, onStep) => checkTexts(textsOf(db, keys), onStep),
  };
}

/** Visits all texts once, and seals those again that are not done. `onStep` as in `SealedPlace`. */
export async function resealTexts<Stored, Sealed>(
  texts: Texts<Stored, Sealed>,
  onStep?: (seen: number) => void,
): Promise<Resealing> {
  const total: Resealing = { resealed: 0, unreadable: [] };
  for await (const some of texts.steps) {
    const replacements: Replacement<Stored, Sealed>[] = [];
    for (const from of some.filter((stored) => !texts.isDone(stored))) {
      const seal = openOne(texts, from, total.unreadable);
      if (seal) replacements.push({ from, to: seal() });
    }
    if (replacements.length > 0) total.resealed += await texts.replace(replacements);
    onStep?.(some.length);
  }
  return total;
}

/** Visits all texts once, and returns those that can't be opened. `onStep` as in `SealedPlace`. */
async function checkTexts<Stored, Sealed>(
  texts: Texts<Stored, Sealed>,
  onStep: (seen: number) => void,
): Promise<Unreadable[]> {
  const unreadable: Unreadable[] = [];
  for await (const some of texts.steps) {
    for (const stored of some) openOne(texts, stored, unreadable);
    onStep(some.length);
  }
  return unreadable;
}

function openOne<Stored, Sealed>(texts: Texts<Stored, Sealed>, stored: Stored, unreadable: Unreadable[]) {
  try {
    return texts.open(stored);
  } catch (error) {
    unreadable.push({ ...texts.nameOf(stored), why: describeFailure(error) });
    return undefined;
  }
}

/** Everything that `find` returns, `limit` at a time, each time after the last key. `first` is lower than all keys. */
export async function* inSteps<Key, Stored extends Key>(
  find: (after: Key, limit: number) => Promise<readonly Stored[]>,
  first: Key,
  limit: number,
): AsyncGenerator<readonly Stored[]> {
  for (let after: Key | undefined = first; after !== undefined; ) {
    const some: readonly Stored[] = await find(after, limit);
    yield some;
    after = some.length < limit ? undefined : some.at(-1);
  }
}
