import { GraphQLError, Kind, type ValueNode } from "graphql";
import { EXPECTED_INSTANT, type Instant, parseInstant } from "../../lib/instant.ts";

/** An input value. As a date, it is the later millisecond of its instant, as bounds of ranges need it: see `readInstant`. */
export class DateTimeInput extends Date {
  /** Epoch milliseconds. What is true at the instant was true then, and not yet at the later one. */
  readonly earlier: number;

  constructor({ earlier, later }: Instant) {
    super(later);
    this.earlier = earlier;
  }
}

/** The instant of an input value. Fails if it is none. */
export function parseDateTime(value: unknown): DateTimeInput {
  const instant = parseInstant(value);
  if (instant === null) throw new GraphQLError(`A DateTime must be ${EXPECTED_INSTANT}.`);
  return new DateTimeInput(instant);
}

/** The same for a literal in the document. */
export function parseDateTimeLiteral(node: ValueNode): DateTimeInput {
  return parseDateTime(node.kind === Kind.STRING ? node.value : undefined);
}

let last = { millis: 0, text: new Date(0).toISOString() };

/** Epoch milliseconds as ISO 8601 in UTC. The last result is reused, because both times of most records are equal. */
export function toIsoTime(millis: number): string {
  if (millis !== last.millis) last = { millis, text: new Date(millis).toISOString() };
  return last.text;
}
