/** When webhooks are delivered. Times are in milliseconds. */
export interface DeliveryTiming {
  /** The time before each attempt, from the end of the one before it. */
  schedule: readonly number[];
  /** The largest random addition to such a time, as a share of it. */
  jitter: number;
  /** The time limit of one attempt. */
  timeoutMs: number;
  /** How long a process may deliver to an endpoint without renewing its lease. */
  leaseMs: number;
  /** Interval of the searches for deliveries that are due, if there are endpoints. */
  lookMs: number;
  /** Interval of the searches for endpoints. */
  followMs: number;
  /** Interval at which every endpoint is checked, also those of which nothing is known to be due. */
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
