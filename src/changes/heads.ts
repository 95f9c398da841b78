import { randomBytes } from "node:crypto";
import type { Database } from "../db/client.ts";
import { GROWN_CHANNEL } from "../ledger/store.ts";
import { startRecurring } from "../lib/recurring.ts";
import { spread } from "../lib/spread.ts";
import type { FailureLog } from "../log.ts";
import { findSizes, notifyListeners } from "./store.ts";

/** From one look at the sizes of logs to the next, if notifications don't arrive. Milliseconds. */
const POLL_MS = 200;
/** The same if they arrive: a lost one delays events by no more than this. Milliseconds. */
const CHECK_MS = 5000;
/** From a failure to listen to the next attempt: it doubles with each further failure. Milliseconds. */
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 60_000;

/** The connection is closed after so long without a watcher. Milliseconds. */
const IDLE_MS = 30_000;

/** Gets what is known about the size of a log. */
export interface HeadWatcher {
  /** The highest size that is known. */
  readonly size: number;
  /** The log has at least this size. */
  onSize(size: number): void;
  /** The log is shorter than it was: the database was restored. */
  onShorter(): void;
}

/**
 * Follows the sizes of those logs that somebody watches: by the sealer's notifications on one connection of the process,
 * and by one statement for all of them if notifications don't arrive. That is found out by a notification to ourselves,
 * because poolers accept LISTEN and pass nothing on. Without a watcher, there is no statement, and soon no connection.
 */
export class Heads {
  readonly #db: Database;
  readonly #log: FailureLog;
  readonly #watchers = new Map<string, HeadWatcher>();
  /** Begins the payload of a notification to ourselves: no account has a space. */
  readonly #probe = ` ${randomBytes(9).toString("base64url")}`;
  #stop: (() => Promise<void>) | undefined;
  #isClosed = false;
  /** When the last watcher left. Milliseconds of `performance.now()`. */
  #unwatchedAt = 0;
  #stopListening: (() => Promise<void>) | undefined;
  #isHeard = false;
  #heardSinceProbe = false;
  #retryMs = FIRST_RETRY_MS;
  #retryAt = 0;
  #hasFailed = false;

  constructor(db: Database, log: FailureLog) {
    this.#db = db;
    this.#log = log;
  }

  /** Whether notifications arrive. */
  get isListening(): boolean {
    return this.#isHeard;
  }

  watch(accountId: string, watcher: HeadWatcher): void {
    this.#watchers.set(accountId, watcher);
    this.#stop ??= startRecurring({
      work: () => this.#look(),
      pause: () => spread(this.#isHeard ? CHECK_MS : POLL_MS, 0.1),
      onFailure: (err) => {
        this.#hasFailed = true;
        this.#log.warn({ err }, "new events could not be looked for");
      },
    });
  }

  unwatch(accountId: string): void {
    this.#watchers.delete(accountId);
    this.#unwatchedAt = performance.now();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#stop?.();
    await this.#lose();
  }

  async #look(): Promise<void> {
    if (this.#watchers.size === 0) {
      if (performance.now() - this.#unwatchedAt > IDLE_MS) await this.#lose();
      return;
    }
    if (this.#isHeard && !this.#heardSinceProbe) await this.#lose();
    if (!this.#stopListening && performance.now() >= this.#retryAt) await this.#listen();
    const before = new Map([...this.#watchers].map(([accountId, { size }]) => [accountId, size]));
    const sizes = await findSizes(this.#db.urgent, [...before.keys()]);
    this.#hasFailed = false;
    for (const { accountId, size } of sizes) {
      const watcher = this.#watchers.get(accountId);
      if (size < (before.get(accountId) ?? 0)) watcher?.onShorter();
      else watcher?.onSize(size);
    }
    if (!this.#stopListening) return;
    this.#heardSinceProbe = false;
    await notifyListeners(this.#db.urgent, this.#probe);
  }

  async #listen(): Promise<void> {
    this.#retryAt = performance.now() + this.#retryMs;
    this.#retryMs = Math.min(2 * this.#retryMs, LAST_RETRY_MS);
    try {
      const stop = await this.#db.listen({
        channel: GROWN_CHANNEL,
        onNotification: (payload) => this.#hear(payload),
        onClosed: () => void this.#lose(),
      });
      this.#stopListening = stop;
      if (this.#isClosed) await this.#lose();
    } catch (err) {
      if (!this.#hasFailed)
        this.#log.warn({ err }, "the database's notifications can't be listened for: polling");
    }
  }

  #hear(payload: string): void {
    this.#heardSinceProbe = true;
    this.#isHeard = true;
    this.#retryMs = FIRST_RETRY_MS;
    const [accountId = "", size] = payload.split(" ");
    if (/^\d{1,15}$/.test(size ?? "")) this.#watchers.get(accountId)?.onSize(Number(size));
  }

  /** Polls from now on, and listens again later. */
  async #lose(): Promise<void> {
    const stop = this.#stopListening;
    this.#stopListening = undefined;
    this.#isHeard = false;
    await stop?.();
  }
}
