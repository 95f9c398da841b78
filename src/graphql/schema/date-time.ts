import { GraphQLError, Kind, type ValueNode } from "graphql";
import { EXPECTED_INSTANT, readInstant } from "../../lib/instant.ts";

/** The instant of an input value: see `readInstant`. Fails if it is none. */
export function parseDateTime(value: unknown): Date {
  const millis = readInstant(value);
  if (millis === null) throw new GraphQLError(`A DateTime must be ${EXPECTED_INSTANT}.`);
  return new Date(millis);
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
