import type { Executor } from "../db/client.ts";
import type { Fault, FaultKind } from "./fault.ts";
import { isSealedAs, nameChange } from "./name-change.ts";
import { findEntries, hasSealedTexts, isFiledAsSealed, type StoredEntry } from "./sealed-events.ts";
import type { Node } from "./store.ts";
import { append, emptyFrontier, isSameFrontier, rootOf, STORED_LEVELS, type TreeHead } from "./tree.ts";
import { findForgotten, findNodes, findOutline, findStray, type LogOutline } from "./verify-store.ts";

/** Events of one statement. */
const STEP = 500;

/** The log to verify, and the checkpoints to verify it with. */
interface Verification {
  db: Executor;
  account: string;
  /** Kept heads of the log, by size. */
  kept: readonly TreeHead[];
  /** Gets the number of events verified since the call before. */
  onStep(count: number): void;
}

/** A log as far as it was found to be what was sealed. */
interface Walk extends Verification {
  outline: LogOutline;
  frontier: ReturnType<typeof emptyFrontier>;
  /** How many of `kept` the log continues. */
  passed: number;
  /** The number of events up to the last stored subtree or kept checkpoint that fits. */
  good: number;
}

/**
 * Computes every leaf and the tree of an account's log again from the events, and compares them with what is stored and
 * what was kept. Returns the first fault, in order of position; undefined: there is none. Its memory does not depend on
 * the size of the log, and it can run while events are written.
 */
export async function verifyLog(verification: Verification): Promise<Fault | undefined> {
  const outline = await findOutline(verification.db, verification.account);
  const walk = { ...verification, outline, frontier: emptyFrontier(), passed: 0, good: 0 };
  return checkStart(walk) ?? checkKept(walk) ?? (await walkEntries(walk)) ?? (await checkEnd(walk));
}

const fault = (
  { account }: Pick<Walk, "account">,
  kind: FaultKind,
  position: number | null,
  message: string,
): Fault => ({ account, kind, position, message });

function checkStart(walk: Walk): Fault | undefined {
  const { firstPosition } = walk.outline;
  if (firstPosition === null || firstPosition >= 0) return undefined;
  return fault(walk, "inserted", firstPosition, "there are entries before the position 0");
}

async function walkEntries(walk: Walk): Promise<Fault | undefined> {
  const { db, account, outline, frontier, onStep } = walk;
  const { size } = outline.head;
  while (frontier.size < size) {
    const from = frontier.size;
    const entries = await findEntries(db, account, { from, to: size, limit: STEP });
    if (entries.length === 0) {
      return fault(walk, "truncated", from, `the log ends here, and its head counts ${size} events`);
    }
    const nodes: Node[] = [];
    for (const stored of entries) {
      const found = (await checkEntry(walk, stored)) ?? appendEntry(walk, stored, nodes);
      if (found) return found;
    }
    const found = await checkNodes(walk, nodes);
    if (found) return found;
    onStep(frontier.size - from);
  }
  return undefined;
}

async function checkEntry(walk: Walk, { entry, event, filed }: StoredEntry): Promise<Fault | undefined> {
  const expected = walk.frontier.size;
  if (entry.position !== expected) {
    return fault(
      walk,
      "removed",
      expected,
      `the entries up to the position ${entry.position - 1} were removed`,
    );
  }
  if (event === null) {
    return fault(walk, "removed", expected, `the event (sequence ${entry.sequence}) was removed`);
  }
  const sealed = { entry, event };
  if (!isSealedAs(sealed)) return nameChange(walk.db, sealed);
  const altered = (message: string) => fault(walk, "altered", expected, message);
  if (!hasSealedTexts(sealed)) {
    return altered(
      "the reason or the name of who signed in is not the one that was sealed, or was removed without its salt",
    );
  }
  if (isFiledAsSealed({ ...sealed, filed })) return undefined;
  return altered(
    "lists show the event under another action or surface, or not in the history of each of its records",
  );
}

function appendEntry(walk: Walk, { entry }: StoredEntry, nodes: Node[]): Fault | undefined {
  const { account: accountId, frontier } = walk;
  append(frontier, entry.leafHash, ({ level, index }, hash) => {
    if (level > 0 && level % STORED_LEVELS === 0) nodes.push({ accountId, level, index, hash });
  });
  return checkKept(walk);
}

/** Compares the log, as far as it was walked, with the checkpoints of its size. */
function checkKept(walk: Walk): Fault | undefined {
  const { frontier, kept, good } = walk;
  for (; kept[walk.passed]?.size === frontier.size; walk.passed += 1) {
    if (!kept[walk.passed]?.root.equals(rootOf(frontier))) {
      const message = `the log does not continue a checkpoint of ${frontier.size} events: what is at this position or after it, up to ${frontier.size - 1}, was rewritten with all its hashes, or an older copy of the database was restored and has grown`;
      return fault(walk, "rewritten", good, message);
    }
    walk.good = frontier.size;
  }
  return undefined;
}

/** The number of subtrees that are stored of a log of this size. */
function countStored(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; count += rest) rest = Math.floor(rest / 2 ** STORED_LEVELS);
  return count;
}

async function checkNodes(walk: Walk, nodes: readonly Node[]): Promise<Fault | undefined> {
  if (nodes.length === 0) return undefined;
  const stored = await findNodes(walk.db, walk.account, nodes);
  const hashes = new Map(stored.map(({ level, index, hash }) => [`${level}/${index}`, hash]));
  for (const { level, index, hash } of nodes) {
    const [from, to] = [index * 2 ** level, (index + 1) * 2 ** level];
    const known = hashes.get(`${level}/${index}`);
    if (!known?.equals(hash)) {
      const what = known ? "not theirs: one of them was rewritten with its leaf, or the hash was" : "missing";
      return fault(walk, "rewritten", from, `the stored hash of the events ${from} to ${to - 1} is ${what}`);
    }
    walk.good = Math.max(walk.good, to);
  }
  return undefined;
}

async function checkEnd(walk: Walk): Promise<Fault | undefined> {
  const { outline, frontier, kept, passed, good } = walk;
  const { head, lastPosition, nodes, endOfNodes } = outline;
  if (!isSameFrontier(frontier, head)) {
    const message = `the head is not that of the events: what is at this position or after it was rewritten with its leaf, or the head was`;
    return fault(walk, "rewritten", good, message);
  }
  if (lastPosition !== null && lastPosition >= head.size) {
    return fault(
      walk,
      "inserted",
      head.size,
      `the head counts only ${head.size} events, and there are more entries`,
    );
  }
  const longest = kept.at(-1)?.size ?? 0;
  if (passed < kept.length) {
    return fault(
      walk,
      "truncated",
      head.size,
      `the log has ${head.size} events, and a checkpoint has ${longest}: its end was cut off, or an older copy of the database was restored`,
    );
  }
  if (endOfNodes > head.size) {
    return fault(
      walk,
      "truncated",
      head.size,
      `the log has ${head.size} events, and stored hashes are of ${endOfNodes}`,
    );
  }
  const expected = countStored(head.size);
  if (nodes !== expected) {
    const message = `${nodes} hashes of subtrees are stored, and a log of ${head.size} events has ${expected}`;
    return fault(walk, "rewritten", null, message);
  }
  return checkOthers(walk);
}

/** Finds rows that are no part of the log, but are listed, or wait for a position. */
async function checkOthers(walk: Walk): Promise<Fault | undefined> {
  const { db, account } = walk;
  const forgotten = await findForgotten(db, account);
  if (forgotten !== undefined) {
    const message = `an event (sequence ${forgotten}) has no position: it was inserted, or its entry was removed`;
    return fault(walk, "inserted", null, message);
  }
  const stray = await findStray(db, account);
  if (stray === undefined) return undefined;
  const message = `a row (sequence ${stray}) was inserted that shows an event in the history of a record that it is not about`;
  return fault(walk, "inserted", null, message);
}
