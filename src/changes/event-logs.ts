import { LRUCache } from "lru-cache";
import type { EventLogs, Follower, LoggedEvent } from "../context.ts";
import type { Database } from "../db/client.ts";
import { AppError, overloaded } from "../errors.ts";
import { withinSpans } from "../lib/span-scope.ts";
import type { FailureLog } from "../log.ts";
import { Heads, type HeadWatcher } from "./heads.ts";
import type { ChangesConfig } from "./settings.ts";
import { findEvents, findSize } from "./store.ts";

/** Pages that are kept for other followers of the same logs. Each takes about 40 KB. */
const KEPT_PAGES = 64;
/** How long they are kept: the followers of a log that has grown ask within a moment. Milliseconds. */
const KEPT_MS = 5000;
/** How often followers are looked for whose wait is over. Milliseconds. */
const SWEEP_MS = 250;
/** How long followers wait before they read again what could not be read. Milliseconds. */
const READ_AGAIN_MS = 500;

/** The present state of all followers, for metrics. */
export interface FollowerFigures {
  followers: number;
  /** Events that the last of them has not got yet. */
  behind: number;
  /** Whether new events are heard of, and not looked for. */
  listening: boolean;
}

export interface OpenEventLogs extends EventLogs {
  figures(): FollowerFigures;
  /** Ends all followers, those to come included. */
  close(): Promise<void>;
}

/** The logs of this database for the followers of this process. Until the first one, nothing is read. */
export function openEventLogs(
  db: Database,
  { maxSubscribers, maxAccountSubscribers }: ChangesConfig,
  log: FailureLog,
): OpenEventLogs {
  const heads = new Heads(db, log);
  const logs = new Map<string, FollowedLog>();
  const pages = keepPages(db);
  let followers = 0;
  let isClosed = false;
  let sweep: NodeJS.Timeout | undefined;

  function open(accountId: string): FollowedLog {
    const known = logs.get(accountId);
    if (known) return known;
    const opened = new FollowedLog(
      (from) => pages.read(accountId, from),
      () => pages.clear(),
    );
    logs.set(accountId, opened);
    heads.watch(accountId, opened);
    // Now: what the log has got before it was watched is not notified again. The next look at all logs repeats it.
    findSize(db, accountId).then(
      (size) => opened.onSize(size),
      () => {},
    );
    sweep ??= setInterval(() => {
      const now = performance.now();
      for (const each of logs.values()) each.wakeLate(now);
    }, SWEEP_MS).unref();
    return opened;
  }

  function leave(accountId: string, followed: FollowedLog): void {
    followers -= 1;
    if (followed.followers.size > 0) return;
    logs.delete(accountId);
    heads.unwatch(accountId);
    if (logs.size > 0) return;
    clearInterval(sweep);
    sweep = undefined;
  }

  return {
    sizeOf: (accountId) => findSize(db, accountId),
    read: pages.read,
    follow(accountId, from) {
      if (followers >= maxSubscribers) throw overloaded();
      if ((logs.get(accountId)?.followers.size ?? 0) >= maxAccountSubscribers) {
        const message = `Your account has ${maxAccountSubscribers} subscriptions here already, which is the limit.`;
        throw new AppError("RATE_LIMITED", message, { retryAfter: 1 });
      }
      followers += 1;
      // Followers share this work, so no single request's trace gets its spans.
      const followed = withinSpans([], () => open(accountId));
      const follower = new LogFollower(followed, from, () => leave(accountId, followed));
      if (isClosed) follower.end();
      return follower;
    },
    figures() {
      let behind = 0;
      for (const { size, followers } of logs.values())
        for (const { position } of followers) behind = Math.max(behind, size - position);
      return { followers, behind, listening: heads.isListening };
    },
    async close() {
      isClosed = true;
      for (const followed of logs.values()) followed.end();
      await heads.close();
    },
  };
}

/** Reads pages of logs, and keeps the last ones for a moment. */
function keepPages(db: Database): Pick<EventLogs, "read"> & { clear(): void } {
  const pages = new LRUCache<string, Promise<readonly LoggedEvent[]>>({ max: KEPT_PAGES, ttl: KEPT_MS });
  return {
    read(accountId, from) {
      const key = `${accountId} ${from}`;
      const known = pages.get(key);
      if (known) return known;
      const page = findEvents(db, { accountId, from });
      pages.set(key, page);
      const forget = () => {
        if (pages.peek(key) === page) pages.delete(key);
      };
      // An event that is not there yet will be.
      page.then((events) => events.length === 0 && forget(), forget);
      return page;
    },
    clear: () => pages.clear(),
  };
}

/** One log that has followers. */
class FollowedLog implements HeadWatcher {
  readonly followers = new Set<LogFollower>();
  readonly read: (from: number) => Promise<readonly LoggedEvent[]>;
  size = 0;
  readonly #forget: () => void;

  constructor(read: (from: number) => Promise<readonly LoggedEvent[]>, forget: () => void) {
    this.read = read;
    this.#forget = forget;
  }

  onSize(size: number): void {
    if (size <= this.size) return;
    this.size = size;
    for (const follower of this.followers) follower.wake();
  }

  onShorter(): void {
    this.size = 0;
    this.#forget();
    this.end();
  }

  wakeLate(now: number): void {
    for (const follower of this.followers) if (now >= follower.wakeAt) follower.wake();
  }

  end(): void {
    for (const follower of this.followers) follower.end();
  }
}

class LogFollower implements Follower {
  readonly #log: FollowedLog;
  readonly #onClose: () => void;
  #position: number;
  #hasEnded = false;
  #wake: (() => void) | undefined;
  /** When its wait is over. Milliseconds of `performance.now()`. */
  wakeAt = Number.POSITIVE_INFINITY;

  constructor(log: FollowedLog, from: number, onClose: () => void) {
    this.#log = log;
    this.#position = from;
    this.#onClose = onClose;
    log.followers.add(this);
  }

  get position(): number {
    return this.#position;
  }

  async next(milliseconds: number): Promise<readonly LoggedEvent[] | undefined> {
    if (!this.#hasEnded && this.#log.size <= this.#position) await this.#wait(milliseconds);
    if (this.#hasEnded) return undefined;
    if (this.#log.size <= this.#position) return [];
    try {
      const events = await this.#log.read(this.#position);
      if (events.length > 0) return this.#hasEnded ? undefined : events;
    } catch {
      // The followers stay while the database can't be reached.
    }
    await this.#wait(Math.min(milliseconds, READ_AGAIN_MS));
    return this.#hasEnded ? undefined : [];
  }

  advance(events: number): void {
    this.#position += events;
  }

  wake(): void {
    this.wakeAt = Number.POSITIVE_INFINITY;
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  end(): void {
    this.#hasEnded = true;
    this.wake();
  }

  close(): void {
    if (!this.#log.followers.delete(this)) return;
    this.end();
    this.#onClose();
  }

  #wait(milliseconds: number): Promise<void> {
    this.wakeAt = performance.now() + milliseconds;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
