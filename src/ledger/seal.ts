import { randomBytes } from "node:crypto";
import type { Database } from "../db/client.ts";
import { startRecurring } from "../lib/recurring.ts";
import type { FailureLog } from "../log.ts";
import { SALT_LENGTH, saltedHash, toLeaf } from "./event-leaf.ts";
import { type Entry, findHeads, type Head, type Node, writeEntries } from "./store.ts";
import { append, emptyFrontier, hashLeaf, STORED_LEVELS } from "./tree.ts";
import {
  type FoundWork,
  findNewEvents,
  findOldEvents,
  look,
  type Progress,
  type UnsealedEvent,
} from "./unsealed-store.ts";

/** From one look for new events to the next. Milliseconds. */
const INTERVAL = 100;
/** The same after another replica was faster: one of them does the work, and the others take over within a moment. */
const INTERVAL_OF_FOLLOWERS = 400;
/** Events of one statement. */
const BATCH = 2000;

/** What a run has come to: nothing to do, some or all of it done, or another replica did it first. */
type Outcome = "idle" | "sealed" | "more" | "overtaken";

/**
 * Gives every committed event that has none its position in its account's log, and its leaf in the tree, soon after
 * the commit. Every replica does it, all accounts at once. The function that comes back ends it, once the run under
 * way has ended.
 */
export function startSealer({ db, log }: { db: Database; log: FailureLog }): () => Promise<void> {
  let interval = INTERVAL;
  let failed = false;
  return startRecurring({
    work: async (isStopped) => {
      let outcome: Outcome;
      do outcome = await sealOnce(db);
      while (outcome === "more" && !isStopped());
      interval = outcome === "overtaken" ? INTERVAL_OF_FOLLOWERS : INTERVAL;
      failed = false;
    },
    pause: () => interval * (0.75 + Math.random() / 2),
    onFailure: (err) => {
      interval = INTERVAL_OF_FOLLOWERS;
      // One line for each outage, and not for each try.
      if (!failed) log.warn({ err }, "events could not get their positions yet");
      failed = true;
    },
  });
}

/** Seals what there is, `limit` events at most. If it fails, nothing or all of it was done, and it can be repeated. */
export async function sealOnce(db: Database, limit = BATCH): Promise<Outcome> {
  // A queue that is full of requests is no reason to lag behind: these are few statements, and none holds a lock for the next.
  const { urgent } = db;
  const found = await look(urgent);
  const { progress, hasNews } = found;
  if (progress.oldDone && !hasNews) return "idle";
  const events = progress.oldDone
    ? await findNewEvents(urgent, found, limit)
    : await findOldEvents(urgent, progress, limit);
  const isAll = events.length < limit;
  const written = await writeEntries(urgent, advance(found, events, isAll), await sealAll(urgent, events));
  if (!written) return "overtaken";
  return isAll && progress.oldDone ? "sealed" : "more";
}

/** The progress once these events have their positions; `isAll`: no other one was there. */
function advance({ progress, now }: FoundWork, events: readonly UnsealedEvent[], isAll: boolean): Progress {
  if (progress.oldDone) return isAll ? { ...progress, ...now } : progress;
  const last = events.at(-1);
  return {
    ...progress,
    ...(last && { oldAccount: last.accountId, oldSequence: last.sequence }),
    oldDone: isAll,
  };
}

/** Appends the events, in their order, to the logs of their accounts. */
async function sealAll(
  db: Database["urgent"],
  events: readonly UnsealedEvent[],
): Promise<{ entries: Entry[]; nodes: Node[]; heads: Head[] }> {
  const accountIds = [...new Set(events.map(({ accountId }) => accountId))];
  const known = accountIds.length > 0 ? await findHeads(db, accountIds) : [];
  const heads = new Map(known.map((head) => [head.accountId, head]));
  const nodes: Node[] = [];
  const entries = events.map((event) => {
    const { accountId } = event;
    const head = heads.get(accountId) ?? { accountId, ...emptyFrontier() };
    heads.set(accountId, head);
    const entry = toEntry(event, head.size);
    append(head, entry.leafHash, ({ level, index }, hash) => {
      if (level > 0 && level % STORED_LEVELS === 0) nodes.push({ accountId, level, index, hash });
    });
    return entry;
  });
  return { entries, nodes, heads: [...heads.values()] };
}

function toEntry(event: UnsealedEvent, position: number): Entry {
  const { accountId, sequence } = event;
  const tokenName = salted(event.tokenName);
  const actor = event.actorName === null ? null : salted(event.actorName);
  const reason = event.reason === null ? null : salted(event.reason);
  const [actorHash, reasonHash] = [actor?.hash ?? null, reason?.hash ?? null];
  const leaf = toLeaf({ ...event, position, tokenNameHash: tokenName.hash, actorHash, reasonHash });
  return {
    ...{ accountId, position, sequence, leafHash: hashLeaf(leaf), tokenNameSalt: tokenName.salt },
    ...{ actorSalt: actor?.salt ?? null, actorHash, reasonSalt: reason?.salt ?? null, reasonHash },
  };
}

/** The hash of a text under a salt of its own. */
function salted(text: string): { salt: Buffer; hash: Buffer } {
  const salt = randomBytes(SALT_LENGTH);
  return { salt, hash: saltedHash(salt, text) };
}
