/** Values of `expiresAt` that a record remembers the notices of: the latest ones. */
const MOST_VALUES = 10;

/**
 * Which notices were sent for which values of a record's `expiresAt`, as the record keeps it: `<epoch milliseconds>:<seconds>`
 * for each value, with the seconds of the last notice, and commas between. If `expiresAt` is changed back to an earlier value,
 * the notices of that value are not sent again.
 */
export function lastNoticeFor(stored: string | null, expiresAt: number): number | undefined {
  return parse(stored).find(([value]) => value === expiresAt)?.[1];
}

/** The same with this notice as the last one for the value. */
export function withNotice(stored: string | null, expiresAt: number, seconds: number): string {
  const others = parse(stored).filter(([value]) => value !== expiresAt);
  const kept = [...others, [expiresAt, seconds]].slice(-MOST_VALUES);
  return kept.map((entry) => entry.join(":")).join();
}

function parse(stored: string | null): [expiresAt: number, seconds: number][] {
  if (!stored) return [];
  return stored.split(",").map((entry) => entry.split(":").map(Number) as [number, number]);
}
