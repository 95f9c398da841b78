import SchemaBuilder from "@pothos/core";
import { SafeIntResolver } from "graphql-scalars";
import type { OperationContext } from "../../context.ts";
import { EXPECTED_INSTANT } from "../../lib/instant.ts";
import { type DateTimeInput, parseDateTime, parseDateTimeLiteral, toIsoTime } from "./date-time.ts";

/** The schema builder, to which the modules of the schema add their types and fields. */
export const builder = new SchemaBuilder<{
  Context: OperationContext;
  DefaultFieldNullability: false;
  Scalars: {
    DateTime: { Input: DateTimeInput; Output: number };
    ID: { Input: string; Output: string };
    SafeInt: { Input: number; Output: number };
  };
}>({
  defaultFieldNullability: false,
});

builder.scalarType("DateTime", {
  parseValue: parseDateTime,
  parseLiteral: parseDateTimeLiteral,
  specifiedByURL: "https://www.rfc-editor.org/rfc/rfc3339",
  extensions: { expected: EXPECTED_INSTANT },
  // Records have their times in epoch milliseconds.
  serialize: (millis) => toIsoTime(millis as number),
  description:
    "A time in ISO 8601 with a zone, such as `2026-03-01T12:30:00.000Z`. Answers are in UTC with milliseconds.",
});

builder.addScalarType("SafeInt", SafeIntResolver, {
  description:
    "A whole number up to 2^53 - 1, which JSON and JavaScript represent exactly: an `Int` has only 32 bits.",
});

builder.queryType({
  description: "Everything that can be read. Reading a record requires a token of its account.",
});
builder.subscriptionType({
  description:
    "What happens from now on, as server-sent events: `Accept: text/event-stream`, by POST or GET, one subscription for each connection. The `id` of each event is its cursor: a client that reconnects continues without a gap if it sends the last one in the header `Last-Event-ID`, as `EventSource` does, or as `after`. A stream that ends without `event: complete` must be continued.",
});
builder.mutationType({
  description:
    "Everything that writes: records, legal holds and webhooks. Each mutation is one transaction. With the header `Idempotency-Key` (1 to 255 printable characters of your choice; the document has one mutation field) it is done once within 24 hours, however often it is sent: a repetition gets the first result, or the first `NOT_FOUND` or `VERSION_CONFLICT`, and the header `Idempotent-Replayed: true`. With the errors `IDEMPOTENCY_MISMATCH` (the key was used with another request) and `IDEMPOTENCY_IN_PROGRESS` (the first request still runs), nothing was done.",
});
