import { DateTimeResolver } from "graphql-scalars";

/**
 * RFC 3339, and variants that widely used libraries print: without seconds (Java, at whole minutes), an offset without a
 * colon or minutes, a space instead of the T.
 */
const SHAPE =
  /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2})(?::(\d{2}))?(?:\.(\d{1,32}))?(?:[Zz]|([+-]\d{2})(?::?(\d{2}))?)$/;
/** Characters. */
const LONGEST = 64;
const LEAP_SECOND = "60";

/** The words with which errors describe a valid value. */
export const EXPECTED_INSTANT = "a time with a zone, such as 2026-03-01T12:30:00Z";

/** The milliseconds before and after an instant, since the epoch: the same one if it is not between two. */
export interface Instant {
  earlier: number;
  later: number;
}

/**
 * The instant of a text in epoch milliseconds; null for a time without a zone, a date alone, and anything else. Fractions of
 * a millisecond are rounded up, so that a range that includes its start and excludes its end has exactly the times in it.
 */
export const readInstant = (value: unknown): number | null => parseInstant(value)?.later ?? null;

/** The instant of a text, as `readInstant` reads it. */
export function parseInstant(value: unknown): Instant | null {
  const parts = typeof value === "string" && value.length <= LONGEST ? SHAPE.exec(value) : null;
  if (!parts) return null;
  const [, date, minutes, seconds = "00", fraction = "", hour, minute = "00"] = parts;
  const millis = fraction.slice(0, 3).padEnd(3, "0");
  const isLeapSecond = seconds === LEAP_SECOND;
  const offset = hour === undefined ? "Z" : `${hour}:${minute}`;
  const text = `${date}T${minutes}:${isLeapSecond ? "59" : seconds}.${millis}${offset}`;
  try {
    const earlier = DateTimeResolver.parseValue(text).getTime() + (isLeapSecond ? 1000 : 0);
    return { earlier, later: earlier + (/[1-9]/.test(fraction.slice(3)) ? 1 : 0) };
  } catch {
    // No such day or hour exists.
    return null;
  }
}
