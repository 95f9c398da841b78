import type { Database, Executor } from "../db/client.ts";
import type { Keyring } from "./keyring.ts";

/** Something that can't be opened, named without values. */
export interface Unreadable {
  kind: "record" | "answer" | "token" | "secret" | "webhook";
  /** Null if it belongs to no account. */
  account: string | null;
  /** Of an answer: the hash of its idempotency key. */
  id: string;
  /** In words. */
  why: string;
}

/** The result of resealing. */
export interface Resealing {
  /** How many texts were sealed again. */
  resealed: number;
  unreadable: Unreadable[];
}

/** The circumstances of a start. */
interface Start {
  /** Whether no gateway has started on this database before. */
  isFirst: boolean;
  /** Epoch milliseconds. */
  now: number;
  /** Called with messages for the operator. */
  onWarning(message: string): void;
}

/** One kind of data in the database that is sealed or authenticated under the encryption keys. */
export interface SealedPlace {
  /** Its name for messages, in the plural. */
  name: string;
  /** Runs at each start, under a lock, and prepares the database for this release. */
  settle?(tx: Executor, keys: Keyring, start: Start): Promise<void>;
  /** The number of texts that each key seals, by key id. `null` counts texts that no key seals. */
  countByKey(db: Database): Promise<Map<string | null, number>>;
  isSealedUnder(db: Database, keyId: string): Promise<boolean>;
  /**
   * Reseals everything in small steps. Afterwards each text that existed at the start is sealed under the newest key in
   * this release's way, with its meaning unchanged. It can run during writes, several times at once, and can be
   * interrupted at any point. `onStep` gets the number of texts seen since its last call.
   */
  reseal(db: Database, keys: Keyring, onStep: (seen: number) => void): Promise<Resealing>;
  /** Opens everything without writing, and returns what can't be opened. `onStep` as above. */
  check(db: Database, keys: Keyring, onStep: (seen: number) => void): Promise<Unreadable[]>;
}

/** Says why a text can't be opened: the message of the deepest cause. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : describeFailure(error.cause);
}

/** A description such as "the record 0Ab… of the account acme". */
export function nameOf({ kind, account, id }: Unreadable): string {
  return account === null ? `the ${kind} ${id}` : `the ${kind} ${id} of the account ${account}`;
}
