import { randomBytes } from "node:crypto";
import type { Database } from "../db/client.ts";
import { startRecurring } from "../lib/recurring.ts";
import { spread } from "../lib/spread.ts";
import { untilTurn } from "../lib/turns.ts";
import type { FailureLog } from "../log.ts";
import { findEarlierCustomers, type OpenDigests } from "./earlier-customers.ts";
import { SALT_LENGTH, saltedHash, toLeaf } from "./event-leaf.ts";
import { look } from "./find-work.ts";
import { findHeads, type Head } from "./heads.ts";
import { type Entry, type Node, writeEntries } from "./store.ts";
import { append, emptyFrontier, hashLeaf, STORED_LEVELS } from "./tree.ts";
import type { UnsealedEvent } from "./unsealed-event.ts";
import { findNewEvents, findOldEvents } from "./unsealed-store.ts";

/** From one look for events that others have written to the next. Milliseconds. */
const INTERVAL_MS = 150;
/** The same after another replica was faster: one of them does the work, and the others take over within a moment. */
const INTERVAL_OF_FOLLOWERS_MS = 400;
/** From the end of one run to the next if this replica keeps writing events: so each run has many of them to do. */
const GAP_MS = 100;
/** The same while many events are written: a run costs as much as some dozens of them. */
const GAP_UNDER_LOAD_MS = 250;
/** Events of one run from which on many are written. */
const MANY = 25;
/** From an event of this replica to the run: its transaction has ended then, and others that came with it, too. */
const SOON_MS = 5;
/** Events that are read at once. */
const BATCH = 4000;
/** Events that are hashed between two looks at the time. */
const EVENTS_PER_LOOK = 20;

/** How an event is written, as `src/audit/store.ts` has it. */
const WRITES_EVENTS = "insert into audit_events ";

/** The size of an account's log. */
type LogSize = Pick<Head, "accountId" | "size">;

/** Callbacks of a sealer. */
interface SealerEvents {
  /** After each statement that has given positions: the accounts whose logs have grown, and how many events those were. */
  onSealed?: (logs: readonly LogSize[], events: number) => void;
  /** Each time when every event that was committed has its position. */
  onAllSealed?: () => void;
}

/** The outcome of a run: nothing to do, some or all of it done, or another replica did it first. */
type Outcome = "idle" | "sealed" | "more" | "overtaken";

/**
 * Gives every committed event that has none its position in its account's log, and its leaf in the tree, soon after
 * the commit. Every replica does it, all accounts at once. The returned function stops it and resolves when the current run has
 * ended.
 */
export function startSealer({
  db,
  log,
  openDigests,
  ...events
}: { db: Database; log: FailureLog; openDigests: OpenDigests } & SealerEvents): () => Promise<void> {
  /** Whether the last run failed, or another replica was faster. */
  let isBehind = false;
  /** Whether this replica has written events since the last run began. */
  let hasWritten = false;
  /** Events of the last run. */
  let count = 0;
  let endedAt = 0;
  const gap = () => {
    if (isBehind) return INTERVAL_OF_FOLLOWERS_MS;
    return count < MANY ? GAP_MS : GAP_UNDER_LOAD_MS;
  };
  const onSealed: SealerEvents["onSealed"] = (logs, sealed) => {
    count += sealed;
    events.onSealed?.(logs, sealed);
  };
  const sealer = startRecurring({
    work: async (isStopped) => {
      // It counts as failed until it has ended.
      [isBehind, hasWritten, count] = [true, false, 0];
      let outcome: Outcome;
      do outcome = await sealOnce(db, openDigests, BATCH, onSealed);
      while (outcome === "more" && !isStopped());
      isBehind = outcome === "overtaken";
      if (!isBehind) events.onAllSealed?.();
    },
    pause: () => {
      endedAt = performance.now();
      return spread(isBehind || hasWritten ? gap() : INTERVAL_MS, 0.1);
    },
    onFailure: (err) => log.warn({ err }, "events could not get their positions yet"),
  });
  const stopObserving = db.observe({
    statementEnded: ({ text, failure }) => {
      if (failure !== undefined || !text.includes(WRITES_EVENTS)) return;
      hasWritten = true;
      sealer.runWithin(Math.max(endedAt + gap() - performance.now(), SOON_MS));
    },
  });
  return async () => {
    stopObserving();
    await sealer();
  };
}

/**
 * Seals what there is, `limit` events at most. Events of release 0.2 also get the customers of the records that still
 * exist. If it fails, nothing or all of it was done, and it can be repeated.
 */
export async function sealOnce(
  db: Database,
  openDigests: OpenDigests,
  limit = BATCH,
  onSealed?: SealerEvents["onSealed"],
): Promise<Outcome> {
  // A queue that is full of requests is no reason to lag behind: these are few statements, and none holds a lock for the next.
  const { urgent } = db;
  const work = await look(urgent, limit);
  const { oldDone } = work.progress;
  if (oldDone && !work.hasNews) return "idle";
  const { events, after, isAll } = await (oldDone ? findNewEvents : findOldEvents)(urgent, work, limit);
  const customers = await findEarlierCustomers(urgent, events, openDigests);
  // The look has the heads of the accounts that it has found events of.
  const heads = oldDone && !work.isRestored ? work.heads : await findHeadsOf(urgent, events);
  const sealed = { ...(await sealAll(events, heads)), customers };
  if (!(await writeEntries(urgent, after, sealed))) return "overtaken";
  if (events.length > 0) onSealed?.(sealed.heads, events.length);
  return isAll ? "sealed" : "more";
}

const findHeadsOf = (db: Database["urgent"], events: readonly UnsealedEvent[]): Promise<Head[]> =>
  findHeads(db, [...new Set(events.map(({ accountId }) => accountId))]);

/** Appends the events, in their order, to the logs of their accounts, which have these heads. */
async function sealAll(
  events: readonly UnsealedEvent[],
  known: readonly Head[],
): Promise<{ entries: Entry[]; nodes: Node[]; heads: Head[] }> {
  const heads = new Map(known.map((head) => [head.accountId, head]));
  const nodes: Node[] = [];
  const entries: Entry[] = [];
  const nameOfToken = saltOnce();
  for (const [index, event] of events.entries()) {
    const turn = index % EVENTS_PER_LOOK === 0 ? untilTurn() : undefined;
    if (turn) await turn;
    const { accountId } = event;
    const head = heads.get(accountId) ?? { accountId, ...emptyFrontier() };
    heads.set(accountId, head);
    const entry = toEntry(event, head.size, nameOfToken(event));
    append(head, entry.leafHash, ({ level, index }, hash) => {
      if (level > 0 && level % STORED_LEVELS === 0) nodes.push({ accountId, level, index, hash });
    });
    entries.push(entry);
  }
  return { entries, nodes, heads: [...heads.values()] };
}

interface Salted {
  salt: Buffer;
  hash: Buffer;
}

function salted(text: string): Salted {
  const salt = randomBytes(SALT_LENGTH);
  return { salt, hash: saltedHash(salt, text) };
}

/** Salts the names of tokens, each one of a token once: most events of one moment are of a few tokens. */
function saltOnce(): (event: UnsealedEvent) => Salted {
  const known = new Map<string, Salted>();
  return ({ accountId, tokenId, tokenName }) => {
    const name = `${accountId} ${tokenId} ${tokenName}`;
    const hashed = known.get(name) ?? salted(tokenName);
    known.set(name, hashed);
    return hashed;
  };
}

function toEntry(event: UnsealedEvent, position: number, tokenName: Salted): Entry {
  const actor = event.actorName === null ? null : salted(event.actorName);
  const reason = event.reason === null ? null : salted(event.reason);
  const [actorHash, reasonHash] = [actor?.hash ?? null, reason?.hash ?? null];
  const leaf = toLeaf(event, { position, tokenNameHash: tokenName.hash, actorHash, reasonHash });
  return {
    accountId: event.accountId,
    position,
    sequence: event.sequence,
    leafHash: hashLeaf(leaf),
    tokenNameSalt: tokenName.salt,
    actorSalt: actor?.salt ?? null,
    actorHash,
    reasonSalt: reason?.salt ?? null,
    reasonHash,
  };
}
