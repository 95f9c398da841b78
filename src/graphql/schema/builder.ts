import SchemaBuilder from "@pothos/core";
import { SafeIntResolver } from "graphql-scalars";
import type { OperationContext } from "../../context.ts";
import { EXPECTED, parseDateTime, parseDateTimeLiteral, toIsoTime } from "./date-time.ts";

/** What the schema's modules add their types and fields to. */
export const builder = new SchemaBuilder<{
  Context: OperationContext;
  DefaultFieldNullability: false;
  Scalars: {
    DateTime: { Input: Date; Output: number };
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
  extensions: { expected: EXPECTED },
  // Records keep their times as epoch milliseconds.
  serialize: (millis) => toIsoTime(millis as number),
  description:
    "An instant as ISO 8601 with a zone, such as `2026-03-01T12:30:00.000Z`. Answers are in UTC with milliseconds.",
});

builder.addScalarType("SafeInt", SafeIntResolver, {
  description: "A whole number that JSON and JavaScript hold exactly, up to 2^53 - 1: an `Int` has 32 bits.",
});

builder.queryType({ description: "Everything that can be read. Each record needs a token of its account." });
builder.mutationType({
  description:
    "Everything that changes records. Each mutation is one transaction. With the header `Idempotency-Key` (1 to 255 printable characters of your choice, the document having one mutation field) it is done once within 24 hours, however often it is sent: a repetition gets the first result, or the first `NOT_FOUND` or `VERSION_CONFLICT`, and the header `Idempotent-Replayed: true`. The errors `IDEMPOTENCY_MISMATCH` (the key was used with another request) and `IDEMPOTENCY_IN_PROGRESS` (the first request still runs) tell that nothing was done.",
});
