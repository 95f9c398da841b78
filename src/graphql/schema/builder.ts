import SchemaBuilder from "@pothos/core";
import RelayPlugin from "@pothos/plugin-relay";
import { SafeIntResolver } from "graphql-scalars";
import type { OperationContext } from "../../context.ts";
import { IDS_COST } from "../documents/cost.ts";
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
  plugins: [RelayPlugin],
  defaultFieldNullability: false,
  relay: {
    // A record has one id on both surfaces: its own.
    encodeGlobalID: (_typename, id) => String(id),
    decodeGlobalID: (id) => ({ typename: "Kyc", id }),
    clientMutationId: "omit",
    idFieldOptions: {
      description: "The object's id. It is the same on GraphQL and REST, and never changes.",
    },
    nodeTypeOptions: { description: "An object that can be fetched again by its id alone." },
    nodeQueryOptions: {
      description:
        "The object with this id, or null where your account has none. Relay clients use it to refetch. Needs the scope `kyc:read`.",
      args: { id: { description: "The id of the object." } },
    },
    nodesQueryOptions: {
      description:
        "The objects with these ids, in their order: null for each that your account does not have. At most 100 at once. Needs the scope `kyc:read`.",
      extensions: { cost: IDS_COST },
      args: { ids: { description: "The ids of the objects, at most 100." } },
    },
  },
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
