import type { Database } from "../db/client.ts";
import type { Keyring } from "./keyring.ts";

/** What a resealing came to. */
export interface Resealing {
  /** How many texts it sealed anew. */
  resealed: number;
  /** Where those lie that could not be opened, in words without values. */
  unreadable: string[];
}

/** Something of the database that is sealed. */
export interface SealedPlace {
  /** What lies there, in words: the plural. */
  name: string;
  /** How many texts each key seals there, by the id of the key; under `null` those that are not sealed yet. */
  countByKey(db: Database): Promise<Map<string | null, number>>;
  isSealedUnder(db: Database, keyId: string): Promise<boolean>;
  /**
   * One way through all of it, in small steps: afterwards each text that was there at the start and was not sealed
   * under the newest key is, and means what it meant. It may run while others write, and several at once; whatever
   * ends it, it has done no harm. `onStep` is told how many texts it has seen since it was told last.
   */
  reseal(db: Database, keys: Keyring, onStep: (seen: number) => void): Promise<Resealing>;
}
