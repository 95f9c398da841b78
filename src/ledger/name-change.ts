import type { Executor } from "../db/client.ts";
import { SALT_LENGTH } from "./event-leaf.ts";
import type { Fault } from "./fault.ts";
import { findEntries, leafOf, type SealedEvent, type StoredEntry } from "./sealed-events.ts";
import { hashLeaf } from "./tree.ts";

/** How far an event is searched for that is not where it was sealed. Positions. */
const FAR = 2000;

/**
 * Says what happened to the first entry of a log whose event is not the one that was sealed at its position: whether it
 * is of another position, and so events were removed, inserted or reordered, or was altered.
 */
export async function nameChange(db: Executor, sealed: SealedEvent): Promise<Fault> {
  const { accountId: account, position } = sealed.entry;
  const following = await findEntries(db, account, { from: position + 1, to: position + FAR, limit: FAR });
  const fault = (kind: Fault["kind"], message: string): Fault => ({ account, kind, position, message });
  const moved = findMove(sealed);
  if (moved !== undefined) {
    const [next] = following;
    const isShift = next === undefined || findMove(next) === moved;
    const events = Math.abs(moved) === 1 ? "an event was" : `${Math.abs(moved)} events were`;
    if (isShift && moved > 0) return fault("removed", `${events} removed before it`);
    if (isShift) return fault("inserted", `${events} inserted before it`);
    return fault("reordered", `the event that is here was sealed at the position ${position + moved}`);
  }
  const original = following.find(
    ({ event }) => event !== null && isSealedAs({ entry: sealed.entry, event }),
  );
  if (original) {
    return fault("reordered", `the event of this position is now at the position ${original.entry.position}`);
  }
  return fault("altered", "the event is not the one that was sealed");
}

/** Whether the event has the leaf of the entry. */
export function isSealedAs(sealed: SealedEvent, position?: number): boolean {
  const { tokenNameSalt, leafHash } = sealed.entry;
  return tokenNameSalt.length === SALT_LENGTH && hashLeaf(leafOf(sealed, position)).equals(leafHash);
}

/** How much further on the entry's event was sealed, negative for further ahead; undefined: nowhere near. */
function findMove({ entry, event }: Omit<StoredEntry, "filed">): number | undefined {
  if (event === null) return undefined;
  for (let far = 1; far <= FAR; far++) {
    for (const move of [far, -far]) {
      const position = entry.position + move;
      if (position >= 0 && isSealedAs({ entry, event }, position)) return move;
    }
  }
  return undefined;
}
