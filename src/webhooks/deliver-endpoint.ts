import { byGateway } from "../administration/record-act.ts";
import { withRetries } from "../db/retry.ts";
import { type AttemptOutcome, attempt } from "./attempt.ts";
import type { Delivering } from "./delivering.ts";
import {
  type DueDelivery,
  findDue,
  type LeasedEndpoint,
  queueUpTo,
  type Settled,
  settle,
} from "./delivery-store.ts";
import type { DisabledReason } from "./event-types.ts";
import { type LeasedState, releaseLease, renewLease } from "./lease-store.ts";
import { disableFailing } from "./manage-endpoints.ts";
import { toMessage } from "./message.ts";
import { MOST_WAITING } from "./queue-store.ts";
import { openEndpointSecrets, openSigner, type SignMessage } from "./secrets.ts";
import { delayAfter } from "./timing.ts";
import { originOf } from "./url.ts";

/** Attempts of one endpoint at once, and how many of them may be repetitions: new events don't wait for what fails. */
const MOST_ATTEMPTS = 8;
const MOST_REPEATED = 4;
/** Positions that the cursor moves at once. */
const STEP = 200;
/** An endpoint that always has something to do is given back after so long, so that others get their turn. */
const LONGEST_TURN_MS = 20_000;
/** How long before its end a lease is no longer used: an attempt may begin then. */
const MARGIN_MS = 1000;

/** Delivers to one endpoint for as long as there is something to do and this process holds its lease. */
export class EndpointDelivery {
  readonly #with: Delivering;
  readonly #lease: LeasedEndpoint;
  readonly #stopping: AbortSignal;
  readonly #cutting = new AbortController();
  #endpoint: LeasedState;
  /** Kept, because opening the secrets and their key takes longer than to sign. */
  #signer: { sealedSecrets: string; sign: SignMessage } | undefined;
  /** When the lease ends. Milliseconds of `performance.now()`. */
  #leaseEnd: number;
  readonly #inProgress = new Map<number, { isRepeated: boolean; done: Promise<void> }>();
  #settled: Settled[] = [];
  /** Why the endpoint is to be disabled, if a receiver's answer says so, and the address of that receiver. */
  #disabling: DisabledReason | undefined;
  #failedUrl: string | undefined;
  #isFull = false;

  /** `takenAt` is a time before the lease was taken, in milliseconds of `performance.now()`. */
  constructor(
    delivering: Delivering,
    endpoint: LeasedState,
    owner: string,
    takenAt: number,
    stopping: AbortSignal,
  ) {
    this.#with = delivering;
    this.#endpoint = endpoint;
    this.#lease = { accountId: endpoint.accountId, id: endpoint.id, owner };
    this.#leaseEnd = takenAt + delivering.timing.leaseMs;
    this.#stopping = stopping;
  }

  /** Delivers, and gives the lease back. Fails if the database does; then the lease ends by itself. */
  async run(): Promise<void> {
    const { timing, db } = this.#with;
    const turnEnd = performance.now() + LONGEST_TURN_MS;
    let isIdle = false;
    const onStop = () => setTimeout(() => this.#cutting.abort(), timing.graceMs).unref();
    this.#stopping.addEventListener("abort", onStop);
    try {
      let isBusy = true;
      while (!this.#stopping.aborted && !isIdle && performance.now() < turnEnd) {
        if (!(await this.#keepLease(isBusy))) break;
        await this.#settle();
        if (this.#disabling) break;
        isBusy = await this.#startSome();
        isIdle = !isBusy && this.#inProgress.size === 0;
        if (!isIdle) await this.#untilSomethingEnds();
      }
      await this.#finish();
      await this.#disable();
      const mostMs = isIdle ? timing.wakeMs : 0;
      await releaseLease(db, this.#lease, { isFull: isIdle && this.#isFull, mostMs });
    } finally {
      this.#stopping.removeEventListener("abort", onStop);
      this.#cutting.abort();
    }
  }

  /**
   * Whether this process may go on. It prolongs the lease if a third of it is over, and, so that it sees new events while
   * it only waits, more often unless it `isBusy`. Then it has the endpoint as it is now.
   */
  async #keepLease(isBusy = true): Promise<boolean> {
    const { db, timing } = this.#with;
    const askedAt = performance.now();
    const age = timing.leaseMs - (this.#leaseEnd - askedAt);
    if (age < (isBusy ? timing.leaseMs / 3 : timing.lookMs / 2)) return true;
    const renewed = await renewLease(db, this.#lease, timing.leaseMs);
    if (!renewed) return false;
    this.#endpoint = renewed;
    this.#leaseEnd = askedAt + timing.leaseMs;
    return true;
  }

  async #settle(): Promise<void> {
    const outcomes = this.#settled;
    if (outcomes.length === 0) return;
    this.#settled = [];
    // What is not written is sent again.
    await withRetries(() => settle(this.#with.db, this.#lease, outcomes));
    for (const { position } of outcomes) this.#inProgress.delete(position);
  }

  /** Starts attempts, and moves the cursor if there are too few to start. Whether it did anything. */
  async #startSome(): Promise<boolean> {
    const { db } = this.#with;
    const inProgress = [...this.#inProgress.keys()];
    const room = MOST_ATTEMPTS - inProgress.length;
    const repeated = [...this.#inProgress.values()].filter(({ isRepeated }) => isRepeated).length;
    if (room <= 0) return true;
    const find = (isFirst: boolean, limit: number) =>
      limit > 0 ? findDue(db, this.#lease, { isFirst, inProgress, limit }) : [];
    const again = await find(false, Math.min(room, MOST_REPEATED - repeated));
    const first = await find(true, room - again.length);
    for (const due of [...again, ...first]) this.#start(due);
    if (again.length + first.length >= room) return true;
    return (await this.#moveCursor()) || again.length + first.length > 0;
  }

  async #moveCursor(): Promise<boolean> {
    const { position: from, size } = this.#endpoint;
    if (from >= size) return false;
    const to = Math.min(from + STEP, size);
    if (await queueUpTo(this.#with.db, this.#lease, { from, to, most: MOST_WAITING })) {
      this.#endpoint.position = to;
      this.#isFull = false;
      return true;
    }
    this.#isFull = true;
    return false;
  }

  #start(due: DueDelivery): void {
    // After a pause of the process, another one may have the endpoint now.
    if (performance.now() > this.#leaseEnd - MARGIN_MS) return;
    const done = this.#attempt(due);
    // `run` fails with it, unless it has failed already.
    done.catch(() => {});
    this.#inProgress.set(due.position, { isRepeated: due.attempts > 0, done });
  }

  async #attempt(due: DueDelivery): Promise<void> {
    const { keys, now, timing, policy, lookup, ca } = this.#with;
    const { accountId, id } = this.#lease;
    const { url, sealedSecrets } = due;
    if (this.#signer?.sealedSecrets !== sealedSecrets) {
      const sign = openSigner(openEndpointSecrets(keys, accountId, id, sealedSecrets));
      this.#signer = { sealedSecrets, sign };
    }
    const { signal } = this.#cutting;
    const { timeoutMs } = timing;
    const message = toMessage(accountId, this.#signer.sign, due, now());
    const outcome = await attempt({
      account: accountId,
      ...message,
      url,
      policy,
      timeoutMs,
      signal,
      lookup,
      ca,
    });
    // It may have arrived or not: it is sent again, and does not count.
    if (signal.aborted && outcome.status === null) this.#inProgress.delete(due.position);
    else this.#judge(due, outcome);
    if (this.#disabling) this.#failedUrl ??= url;
  }

  #judge(
    { position, attempts, firstAttemptAt, url }: DueDelivery,
    { status, result, retryAfterMs }: AttemptOutcome,
  ): void {
    const { timing, onAttempt } = this.#with;
    const isDelivered = status !== null && status >= 200 && status < 300;
    const delayMs = isDelivered ? 0 : delayAfter(timing, attempts + 1, retryAfterMs);
    const { lastSuccessAt } = this.#endpoint;
    const hasWorkedSince =
      firstAttemptAt !== null && lastSuccessAt !== null && lastSuccessAt > firstAttemptAt;
    if (isDelivered) this.#endpoint.lastSuccessAt = this.#with.now();
    if (status === 410) this.#disabling = "gone";
    else if (delayMs === undefined && !hasWorkedSince) this.#disabling ??= "failing";
    const isGivenUp = delayMs === undefined && hasWorkedSince && status !== 410;
    const state = isDelivered ? "delivered" : isGivenUp ? "failed" : "pending";
    this.#settled.push({ position, attempts, state, status, result, delayMs: delayMs ?? 0 });
    onAttempt(isDelivered ? "delivered" : isGivenUp ? "given_up" : "failed");
    if (isDelivered) return;
    this.#warn(url, isGivenUp ? "a webhook was given up" : "a webhook could not be delivered", {
      ...{ position, attempt: attempts + 1, status, result },
    });
  }

  #warn(url: string, message: string, details: object): void {
    const { accountId, id } = this.#lease;
    this.#with.log.warn({ account: accountId, webhook: id, receiver: originOf(url), ...details }, message);
  }

  /** Waits for the end of an attempt, but not past the time to prolong the lease. */
  async #untilSomethingEnds(): Promise<void> {
    if (this.#inProgress.size === 0 || this.#settled.length > 0) return;
    let timer: NodeJS.Timeout | undefined;
    const isLate = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, Math.min(this.#with.timing.lookMs, this.#with.timing.leaseMs / 4));
    });
    await Promise.race([isLate, ...[...this.#inProgress.values()].map(({ done }) => done)]);
    clearTimeout(timer);
  }

  /** Waits for the attempts in progress, as far as the lease and a stop allow, and writes what came of them. */
  async #finish(): Promise<void> {
    while (this.#inProgress.size > 0) {
      await this.#untilSomethingEnds();
      await this.#settle();
      if (this.#inProgress.size > 0 && !(await this.#keepLease())) this.#cutting.abort();
    }
    await this.#settle();
  }

  async #disable(): Promise<void> {
    const reason = this.#disabling;
    if (!reason) return;
    const { db, keys, now } = this.#with;
    const managing = { accountId: this.#lease.accountId, by: byGateway(), keys, networks: [], now: now() };
    const failed = { id: this.#lease.id, url: this.#failedUrl };
    const isDisabled = await db.transaction((tx) => disableFailing(tx, managing, failed, reason));
    if (isDisabled) this.#warn(failed.url ?? this.#endpoint.url, "a webhook was disabled", { reason });
  }
}
