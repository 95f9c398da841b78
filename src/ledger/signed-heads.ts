import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { LRUCache } from "lru-cache";
import type { Executor } from "../db/client.ts";
import { untilTurn } from "../lib/turns.ts";
import type { Keyring } from "../sealing/keyring.ts";
import { CheckpointError, openCheckpoint } from "./checkpoint.ts";
import { findHeads, type Head } from "./heads.ts";
import { LedgerError } from "./ledger-error.ts";
import { NoteError, type NoteVerifier } from "./note.ts";
import { loadHashes } from "./stored-hashes.ts";
import { rootOf, type TreeHead } from "./tree.ts";

/** Logs whose heads a process remembers. */
const REMEMBERED = 100_000;
/** How much of the file's end is read. Bytes. */
const MOST_BYTES = 16 << 20;

/** The names of logs, and the keys that have ever signed their heads. */
interface LogNames {
  originOf(accountId: string): string;
  verifiersOf(origin: string): NoteVerifier[];
}

/** A log does not continue a head of it that was signed before. */
export class BrokenLogError extends LedgerError {
  readonly signed: TreeHead;

  constructor(accountId: string, size: number, signed: TreeHead) {
    super(
      `the log of ${accountId}, with ${size} events, does not continue its signed head with ${signed.size}: it is not signed`,
    );
    this.signed = signed;
  }
}

/**
 * The last signed head of each log, as far as this process knows it: what it has signed itself, and what the file of
 * checkpoints had when it was first needed. Nothing of it is in the database, because an older copy of the database, or a
 * rewritten one, would bring its own.
 */
class SignedHeads {
  // With `max`, the cache would reserve its whole size at each start, which takes 30 ms.
  readonly #heads = new LRUCache<string, TreeHead>({ maxSize: REMEMBERED, sizeCalculation: () => 1 });
  #file: string | undefined;
  #reading: Promise<void> | undefined;

  /** Reads this file before the next head is compared. */
  readLater(file: string): void {
    this.#file = file;
  }

  /** Fails with a BrokenLogError if the log does not continue its signed head. */
  async requireContinued(db: Executor, logKeys: LogNames, head: Head): Promise<void> {
    if (this.#file !== undefined) this.#reading ??= this.#read(this.#file, logKeys);
    await this.#reading;
    const { accountId, size } = head;
    const signed = this.#heads.get(accountId);
    if (signed === undefined || (await continues(db, head, signed))) return;
    // Another call has signed a later head since this one was read.
    const now = size < signed.size ? (await findHeads(db, [accountId]))[0] : undefined;
    const isEarlier =
      now && (await continues(db, now, signed)) && (await continues(db, now, toTreeHead(head)));
    if (!isEarlier) throw new BrokenLogError(accountId, size, signed);
  }

  remember(head: Head): void {
    const known = this.#heads.get(head.accountId);
    if (known === undefined || known.size <= head.size) this.#heads.set(head.accountId, toTreeHead(head));
  }

  /** Takes the last checkpoint of each log that a key of the database has signed; other lines count for nothing. */
  async #read(path: string, logKeys: LogNames): Promise<void> {
    for (const line of (await readEnd(path)).split("\n").reverse()) {
      const turn = untilTurn();
      if (turn) await turn;
      const published = parseLine(line);
      // Verifying takes much longer than parsing, and a file can have a hundred thousand lines of one log.
      if (!published || this.#heads.has(published.account)) continue;
      const head = openHead(published, logKeys);
      if (head) this.#heads.set(published.account, head);
      if (this.#heads.size === REMEMBERED) return;
    }
  }
}

const known = new WeakMap<Keyring, SignedHeads>();

/** What is known of the heads that were signed with the keys of this keyring, which each process opens once. */
export function signedHeadsOf(keys: Keyring): SignedHeads {
  let found = known.get(keys);
  if (!found) {
    found = new SignedHeads();
    known.set(keys, found);
  }
  return found;
}

const toTreeHead = (head: Head): TreeHead => ({ size: head.size, root: rootOf(head) });

/** Whether the log begins with the events of the earlier head. */
async function continues(db: Executor, head: Head, earlier: TreeHead): Promise<boolean> {
  if (head.size < earlier.size) return false;
  if (head.size === earlier.size) return rootOf(head).equals(earlier.root);
  if (earlier.size === 0) return true;
  const range = { from: 0, to: earlier.size };
  try {
    const hashOf = await loadHashes(db, head, [range]);
    return hashOf(range).equals(earlier.root);
  } catch (error) {
    if (error instanceof LedgerError) return false;
    throw error;
  }
}

/** The end of a file; empty if it does not exist, is no plain file, or can't be read. */
async function readEnd(path: string): Promise<string> {
  try {
    // Without waiting: a pipe would have no end.
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stats = await file.stat();
      if (!stats.isFile()) return "";
      const length = Math.min(stats.size, MOST_BYTES);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, stats.size - length);
      return buffer.toString("utf8", 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch {
    return "";
  }
}

/** What the line says; undefined if it is no line of a publication, whatever else it is. */
function parseLine(line: string): { account: string; checkpoint: string } | undefined {
  try {
    const { account, checkpoint } = JSON.parse(line) ?? {};
    return typeof account === "string" && typeof checkpoint === "string"
      ? { account, checkpoint }
      : undefined;
  } catch {
    return undefined;
  }
}

/** The head; undefined if no key of the database has signed it. */
function openHead(
  { account, checkpoint }: { account: string; checkpoint: string },
  logKeys: LogNames,
): TreeHead | undefined {
  const origin = logKeys.originOf(account);
  try {
    const { size, root } = openCheckpoint(checkpoint, origin, logKeys.verifiersOf(origin));
    return { size, root };
  } catch (error) {
    if (error instanceof CheckpointError || error instanceof NoteError) return undefined;
    throw error;
  }
}
