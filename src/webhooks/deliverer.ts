import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { Heads, type HeadWatcher } from "../changes/heads.ts";
import { startRecurring } from "../lib/recurring.ts";
import { spread } from "../lib/spread.ts";
import { EndpointDelivery } from "./deliver-endpoint.ts";
import type { Delivering } from "./delivering.ts";
import { findFollowed, forgetFailed, type LeasedState, takeEndpoints } from "./lease-store.ts";

/** Endpoints that a process delivers to at once. With the attempts of each, at most 256 connections. */
const ENDPOINTS_AT_ONCE = 32;
/** Endpoints that are taken by one statement. */
const TAKEN_AT_ONCE = 4;
/** How long a stop waits for the database after the attempts have ended. Milliseconds. */
const CLOSING_MS = 3000;
/** From one look to the next if something happened meanwhile. Milliseconds. */
const AGAIN_MS = 10;
/** One of so many turns of an endpoint removes what was given up long ago. */
const FORGET_EVERY = 100;

/** A running delivery of webhooks. */
export interface Deliverer {
  /** Whether the last look for webhooks that are due succeeded, and nobody has stopped it. */
  isDelivering(): boolean;
  /** Attempts have some seconds to end, and what is cut off is sent again by another process. */
  stop(): Promise<void>;
}

/**
 * Delivers webhooks together with all other processes on the database that do. Each endpoint belongs to one of them at a
 * time, by a lease of the database's clock; when a process dies, others take its endpoints over. Without an endpoint it
 * does nothing but look for one now and then.
 */
export function startDeliverer(delivering: Delivering): Deliverer {
  const { db, log, timing } = delivering;
  const stopping = new AbortController();
  // Each endpoint listens, and Node warns of more than ten.
  setMaxListeners(ENDPOINTS_AT_ONCE + 1, stopping.signal);
  const active = new Map<Promise<void>, string>();
  const followed = new Map<string, Followed>();
  const heads = new Heads(db, log);
  let followAt = 0;
  let hasFailed = false;
  let hasLooked = false;
  let isWoken = false;
  const wake = () => {
    isWoken = true;
    looking.runWithin(0);
  };
  const deliver = async (endpoint: LeasedState, owner: string, takenAt: number) => {
    await new EndpointDelivery(delivering, endpoint, owner, takenAt, stopping.signal).run();
    if (Math.random() * FORGET_EVERY < 1) await forgetFailed(db, { ...endpoint, owner });
  };
  const follow = async () => {
    if (performance.now() < followAt) return;
    const found = new Map((await findFollowed(db)).map(({ accountId, position }) => [accountId, position]));
    followOnly(found, { heads, followed, wake });
    followAt = performance.now() + timing.followMs;
  };
  const look = async () => {
    isWoken = false;
    await follow();
    if (followed.size === 0 || active.size >= ENDPOINTS_AT_ONCE) return;
    const takenAt = performance.now();
    // Not the process: after a long stall it can take an endpoint again that it still delivers to.
    const owner = randomBytes(12).toString("base64url");
    const places = freePlaces([...active.values()]);
    const taken = await takeEndpoints(db, { owner, leaseMs: timing.leaseMs, ...places });
    if (taken.length === places.limit) isWoken = true;
    for (const endpoint of taken) {
      const done = deliver(endpoint, owner, takenAt)
        .catch((err) => {
          if (!stopping.signal.aborted)
            log.warn({ err, webhook: endpoint.id }, "webhooks of an endpoint can't be delivered now");
        })
        .finally(() => {
          active.delete(done);
          wake();
        });
      active.set(done, endpoint.accountId);
    }
  };
  const looking = startRecurring({
    work: async () => {
      await look();
      hasFailed = false;
      hasLooked = true;
    },
    pause: () =>
      // Woken during the look: once more, but never without a pause.
      isWoken && followed.size > 0
        ? AGAIN_MS
        : spread(followed.size > 0 ? timing.lookMs : timing.followMs, 0.1),
    onFailure: (err) => {
      hasFailed = true;
      log.warn({ err }, "webhooks that are due could not be looked for");
    },
  });
  const end = () => looking().then(() => Promise.all([heads.close(), ...active.keys()]));
  return {
    isDelivering: () => hasLooked && !hasFailed && !stopping.signal.aborted,
    stop: async () => {
      stopping.abort();
      // If the database does not answer, the leases end by themselves.
      await Promise.race([end(), wait(timing.graceMs + CLOSING_MS, undefined, { ref: false })]);
    },
  };
}

/** Follows the logs of these accounts, each from a position on, and no others. */
function followOnly(
  found: ReadonlyMap<string, number>,
  { heads, followed, wake }: { heads: Heads; followed: Map<string, Followed>; wake: () => void },
): void {
  for (const accountId of followed.keys()) {
    if (found.has(accountId)) continue;
    heads.unwatch(accountId);
    followed.delete(accountId);
  }
  for (const [accountId, position] of found) {
    if (followed.has(accountId)) continue;
    const watcher = new Followed(position, wake);
    followed.set(accountId, watcher);
    heads.watch(accountId, watcher);
  }
}

/**
 * How many endpoints to take now, and of which accounts none, by the account of each endpoint that has a place. Receivers that
 * hang keep their places for long. So an account gets no more of them than are free: half of all at first, and some are
 * always left for others.
 */
function freePlaces(accounts: readonly string[]): { limit: number; without: string[] } {
  const free = ENDPOINTS_AT_ONCE - accounts.length;
  const counts = new Map<string, number>();
  for (const account of accounts) counts.set(account, (counts.get(account) ?? 0) + 1);
  const without = [...counts].filter(([, count]) => count >= free).map(([account]) => account);
  return { limit: Math.min(TAKEN_AT_ONCE, free), without };
}

/** The log of an account that has endpoints. */
class Followed implements HeadWatcher {
  size: number;
  readonly #wake: () => void;

  constructor(size: number, wake: () => void) {
    this.size = size;
    this.#wake = wake;
  }

  onSize(size: number): void {
    if (size <= this.size) return;
    this.size = size;
    this.#wake();
  }

  onShorter(): void {
    this.size = 0;
  }
}
