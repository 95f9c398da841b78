import { GraphQLError, Kind, type ValueNode } from "graphql";
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
export const EXPECTED = "a time with a zone, such as 2026-03-01T12:30:00Z";

/**
 * The instant of an input value. Milliseconds are the finest time there is: an instant between two of them is the later
 * one, so that a range which includes its start and excludes its end takes exactly what lies in it. Fails for a time
 * without a zone, a date alone, and anything else.
 */
export function parseDateTime(value: unknown): Date {
  const parts = typeof value === "string" && value.length <= LONGEST ? SHAPE.exec(value) : null;
  if (!parts) throw new GraphQLError(`A DateTime must be ${EXPECTED}.`);
  const [, date, minutes, seconds = "00", fraction = "", hour, minute = "00"] = parts;
  const millis = fraction.slice(0, 3).padEnd(3, "0");
  const isLeapSecond = seconds === LEAP_SECOND;
  const offset = hour === undefined ? "Z" : `${hour}:${minute}`;
  const text = `${date}T${minutes}:${isLeapSecond ? "59" : seconds}.${millis}${offset}`;
  const parsed = DateTimeResolver.parseValue(text);
  const later = (isLeapSecond ? 1000 : 0) + (/[1-9]/.test(fraction.slice(3)) ? 1 : 0);
  return new Date(parsed.getTime() + later);
}

/** The same for a literal in the document. */
export function parseDateTimeLiteral(node: ValueNode): Date {
  return parseDateTime(node.kind === Kind.STRING ? node.value : undefined);
}

let last = { millis: 0, text: new Date(0).toISOString() };

/** Epoch milliseconds as ISO 8601 in UTC. The last result is reused, because both times of most records are equal. */
export function toIsoTime(millis: number): string {
  if (millis !== last.millis) last = { millis, text: new Date(millis).toISOString() };
  return last.text;
}
