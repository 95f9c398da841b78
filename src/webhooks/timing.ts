/** When webhooks are delivered. Milliseconds. */
export interface DeliveryTiming {
  /** The time before each attempt, from the end of the one before it. */
  schedule: readonly number[];
  /** By which part of itself the time grows at most, by chance. */
  jitter: number;
  /** Of one attempt. */
  timeoutMs: number;
  /** For how long a process may deliver to an endpoint without saying that it still lives. */
  leaseMs: number;
  /** From one look for what is due to the next, if there are endpoints. */
  lookMs: number;
  /** From one look for endpoints to the next. */
  followMs: number;
  /** After so long each endpoint is looked at, whether anything is known to be due or not. */
  wakeMs: number;
  /** How long attempts may still take after a stop. */
  graceMs: number;
}

/** These are in milliseconds. */
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** The schedule that Standard Webhooks recommends, and times that let another process take over within 30 s. */
export const DELIVERY_TIMING: DeliveryTiming = {
  schedule: [
    ...[0, 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR],
    ...[20 * HOUR, 24 * HOUR],
  ],
  jitter: 0.2,
  timeoutMs: 20 * SECOND,
  leaseMs: 15 * SECOND,
  lookMs: SECOND,
  followMs: 5 * SECOND,
  wakeMs: MINUTE,
  graceMs: 3 * SECOND,
};

/** The longest time that a receiver can ask for with `Retry-After`. */
const LONGEST_RETRY_AFTER_MS = 24 * HOUR;

/**
 * The time before the attempt after `attempts` ones: that of the schedule, or what the receiver asks for if that is
 * longer. Undefined: there are no more.
 */
export function delayAfter(
  { schedule, jitter }: DeliveryTiming,
  attempts: number,
  retryAfterMs: number | null,
): number | undefined {
  const delay = schedule[attempts];
  if (delay === undefined) return undefined;
  const asked = Math.min(retryAfterMs ?? 0, LONGEST_RETRY_AFTER_MS);
  return Math.max(delay, asked) * (1 + jitter * Math.random());
}
