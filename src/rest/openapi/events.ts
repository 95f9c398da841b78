import { CHANGE_ACTIONS } from "../../kyc/kyc-changes.ts";
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../../paging/page-input.ts";
import { type ChangeBody, type EVENT_PARAMS, LONGEST_WAIT_SECONDS } from "../events.ts";
import { type JsonSchema, reference } from "./components.ts";
import { idSchema, RECORD } from "./schemas.ts";

interface EventParameter {
  description: string;
  schema: JsonSchema;
}

const cursorSchema: JsonSchema = { type: "string", pattern: "^[A-Za-z0-9_-]+$" };
const CURSOR = "QUk4SFJfVGk6MQ";

/** The parameters of the feed. A parameter that is added to the route must be described here. */
export const eventParameters: Record<(typeof EVENT_PARAMS)[number], EventParameter> = {
  limit: {
    description: "How many events to show at most.",
    schema: { type: "integer", minimum: 1, maximum: MAX_PAGE_SIZE, default: DEFAULT_PAGE_SIZE },
  },
  after: {
    description:
      "The `id` of an event, or `next_after` of a page: the page starts after it. Without it, the page starts with your " +
      "account's first event.",
    schema: cursorSchema,
  },
  starting_after: {
    description: "The same as `after`, as Stripe's libraries call it. Not together with `after`.",
    schema: cursorSchema,
  },
  wait: {
    description:
      "How many seconds to wait for an event if there is none. The answer can come earlier and be empty.",
    schema: { type: "integer", minimum: 0, maximum: LONGEST_WAIT_SECONDS, default: 0 },
  },
};

const status = (description: string): JsonSchema => ({
  anyOf: [reference("schemas", "VerificationStatus"), { type: "null" }],
  description,
});

const EVENT_FIELDS: Record<keyof ChangeBody, JsonSchema> = {
  id: { ...cursorSchema, description: "The event's cursor, for `after`.", examples: [CURSOR] },
  object: { type: "string", const: "event", description: "Always `event`." },
  type: {
    type: "string",
    enum: CHANGE_ACTIONS.map((action) => `kyc.${action}`),
    description: "What happened to the record.",
  },
  created: {
    type: "integer",
    format: "int64",
    description: "When it happened, in seconds since the Unix epoch.",
  },
  position: {
    type: "integer",
    format: "int64",
    minimum: 0,
    description:
      "The event's position in your account's log. Events that are no changes of records are left out.",
  },
  kyc_id: { ...idSchema, description: "The id of the record." },
  verification_status: status("The record's status after the change; null if it was deleted."),
  previous_verification_status: status("The record's status before the change; null if it was created."),
};

const EVENT = {
  ...{ id: CURSOR, object: "event", type: "kyc.created", created: RECORD.created_at, position: 0 },
  ...{
    kyc_id: RECORD.id,
    verification_status: RECORD.verification_status,
    previous_verification_status: null,
  },
};

/** The `components.schemas` of events. */
export const eventSchemas: Record<string, JsonSchema> = {
  KycEvent: {
    type: "object",
    title: "Change of a KYC record",
    properties: EVENT_FIELDS,
    required: Object.keys(EVENT_FIELDS),
    additionalProperties: false,
    examples: [EVENT],
  },
  KycEventList: {
    type: "object",
    title: "Page of events",
    description: "Changes of records, oldest first.",
    properties: {
      object: { type: "string", const: "list", description: "Always `list`." },
      url: { type: "string", const: "/v1/events", description: "The address of the list." },
      has_more: { type: "boolean", description: "Whether there are more events after these, or may be." },
      data: {
        type: "array",
        maxItems: MAX_PAGE_SIZE,
        items: reference("schemas", "KycEvent"),
        description: "The events.",
      },
      next_after: { ...cursorSchema, description: "The cursor behind this page, also if it is empty." },
    },
    required: ["object", "url", "has_more", "data", "next_after"],
    additionalProperties: false,
    examples: [{ object: "list", url: "/v1/events", has_more: false, data: [EVENT], next_after: CURSOR }],
  },
};
