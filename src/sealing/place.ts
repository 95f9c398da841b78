import type { Database, Executor } from "../db/client.ts";
import type { Keyring } from "./keyring.ts";

/** Something that can't be opened, named without values. */
export interface Unreadable {
  kind: "record" | "answer" | "token" | "secret";
  /** Null: it belongs to no account. */
  account: string | null;
  /** Of an answer: the hash of its idempotency key. */
  id: string;
  /** In words. */
  why: string;
}

/** What a resealing came to. */
export interface Resealing {
  /** How many texts it sealed anew. */
  resealed: number;
  unreadable: Unreadable[];
}

/** How a gateway starts. */
interface Start {
  /** Whether no gateway has started on this database before. */
  isFirst: boolean;
  /** Epoch milliseconds. */
  now: number;
  /** Gets what an operator should know, in words. */
  onWarning(message: string): void;
}

/** Something in the database that is sealed, or authenticated, under the encryption keys. */
export interface SealedPlace {
  /** What it contains, in words: the plural. */
  name: string;
  /** Part of each start: prepares what this release needs. Only one start does this at a time. */
  settle?(tx: Executor, keys: Keyring, start: Start): Promise<void>;
  /** How many texts each key seals there, by the id of the key; under `null` those that no key seals. */
  countByKey(db: Database): Promise<Map<string | null, number>>;
  isSealedUnder(db: Database, keyId: string): Promise<boolean>;
  /**
   * Goes once through all of it, in small steps: afterwards each text that was there at the start is sealed under the
   * newest key, as this release seals, and means what it meant. It may run while others write, and several at once; an
   * interruption at any point does no harm. `onStep` gets the number of texts seen since the call before.
   */
  reseal(db: Database, keys: Keyring, onStep: (seen: number) => void): Promise<Resealing>;
  /** Opens all of it and writes nothing; returns what can't be opened. `onStep` as above. */
  check(db: Database, keys: Keyring, onStep: (seen: number) => void): Promise<Unreadable[]>;
}

/** Why a text can't be opened, in words: those of the deepest cause. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : describeFailure(error.cause);
}

/** The text in words, such as "the record 0Ab… of the account acme". */
export function nameOf({ kind, account, id }: Unreadable): string {
  return account === null ? `the ${kind} ${id}` : `the ${kind} ${id} of the account ${account}`;
}
