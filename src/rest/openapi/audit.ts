import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../../paging/page-input.ts";
import { ADMINISTRATIVE_ACTS, AUDIT_ACTIONS, NOTICES, SURFACES } from "../../vocabulary.ts";
import type { EventBody } from "../audit-body.ts";
import type { AuditParam } from "../audit-params.ts";
import { type JsonSchema, reference } from "./components.ts";
import { idSchema, RECORD } from "./schemas.ts";

interface AuditParameter {
  description: string;
  schema: JsonSchema;
}

const eventId: JsonSchema = { type: "string", pattern: "^evt_[1-9][0-9]*$" };
const text: JsonSchema = { type: "string", minLength: 1, maxLength: 500 };
const seconds: JsonSchema = { type: "integer", format: "int64" };
const bound = (which: string): AuditParameter => ({
  description: `Only events ${which} this time, in whole Unix seconds.`,
  schema: seconds,
});

/** The parameters of the trail. A parameter that is added to the route must be described here. */
export const auditParameters: Record<AuditParam, AuditParameter> = {
  limit: {
    description: "How many events to show at most.",
    schema: { type: "integer", minimum: 1, maximum: MAX_PAGE_SIZE, default: DEFAULT_PAGE_SIZE },
  },
  kyc_id: { description: "Only events of this record, which may have been deleted.", schema: idSchema },
  customer_id: {
    description: "Only events of this customer's records, also of deleted ones.",
    schema: text,
  },
  token_id: {
    description: "Only events that this token caused.",
    schema: { type: "string", pattern: "^[A-Za-z0-9_-]{1,64}$" },
  },
  actor: {
    description:
      "Only events that this person or token caused: the name of who signed in, or the name or id of a token.",
    schema: text,
  },
  action: {
    description: `Only events with one of these actions, with commas between them: ${AUDIT_ACTIONS.map((action) => `\`${action}\``).join(", ")}.`,
    schema: { type: "string", examples: ["created,deleted"] },
  },
  status_after: {
    description: "Only events after which the record had this status, whether they changed it or not.",
    schema: reference("schemas", "VerificationStatusInput"),
  },
  "at[gte]": bound("at or after"),
  "at[gt]": bound("after"),
  "at[lte]": bound("at or before"),
  "at[lt]": bound("before"),
  starting_after: {
    description:
      "The id of an event: the page starts after it, with older ones. Not together with `ending_before`.",
    schema: eventId,
  },
  ending_before: {
    description:
      "The id of an event: the page ends before it, with newer ones. Not together with `starting_after`.",
    schema: eventId,
  },
};

const orNull = (schema: JsonSchema, description: string): JsonSchema => ({
  anyOf: [schema, { type: "null" }],
  description,
});
const string: JsonSchema = { type: "string" };
const status = (when: string) =>
  orNull(
    reference("schemas", "VerificationStatus"),
    `The record's status ${when} the change; null if there was none.`,
  );

const EVENT_FIELDS: Record<keyof EventBody, JsonSchema> = {
  id: { ...eventId, description: "The event's id, for paging.", examples: ["evt_42"] },
  position: orNull(
    { type: "integer", format: "int64", minimum: 0 },
    "The event's position in the account's log: 0, 1, 2 … without a gap. Null for a moment, until it has one.",
  ),
  at: { ...seconds, description: "When it happened, in Unix seconds." },
  action: {
    ...string,
    enum: [...AUDIT_ACTIONS],
    description: [
      "What was done to records or announced about them, or an act of administration.\n",
      ...Object.entries({ ...NOTICES, ...ADMINISTRATIVE_ACTS }).map(
        ([action, meaning]) => `- \`${action}\`: ${meaning}`,
      ),
    ].join("\n"),
    examples: ["updated"],
  },
  actor: {
    ...string,
    description:
      "Who did it: the name of who signed in, or of the token; `sign-in` for a sign-in without a name.",
  },
  token_id: {
    ...string,
    description:
      "The id of the token, or a keyed digest of who signed in; `cli` or `gateway` if there was neither.",
  },
  token_name: { ...string, description: "The name of the token, as it was then; `sign-in` for a sign-in." },
  surface: { ...string, enum: [...SURFACES], description: "Where the act came from.", examples: ["rest"] },
  request_id: { ...string, description: "The id of the request, or of the run of a command." },
  subject: orNull(
    string,
    "The id of the token, key, webhook, hold or erasure that an act of administration is about, or the notice of `expiring`, such as `30d`.",
  ),
  kyc_ids: {
    type: "array",
    items: idSchema,
    description:
      "The records that it is about: several if one answer showed several numbers, and none for most acts of administration.",
  },
  changed_fields: { type: "array", items: string, description: "The fields that an update changed." },
  status_before: status("before"),
  status_after: status("after"),
  document_type_after: orNull(
    reference("schemas", "DocumentType"),
    "The record's document type after it was created or updated; null for everything else, and in events of release 0.2.",
  ),
  version_after: orNull(
    { type: "integer", format: "int32", minimum: 1 },
    "The record's version after it was created or updated, or when `expiring` was announced; null for everything else, and in events of release 0.2.",
  ),
  reason: orNull(
    string,
    "Why the caller did it; null if they gave no reason, or if the customer was erased since.",
  ),
};

const EVENT = {
  ...{ id: "evt_42", position: 41, at: 1772366400, action: "updated", actor: "back office" },
  ...{ token_id: "tok_0123456789abcdef", token_name: "back office", surface: "rest" },
  ...{ request_id: "req_7f9c24e8-3b12-4c1d-9d2e-5a6b7c8d9e0f", subject: null, kyc_ids: [RECORD.id] },
  ...{ changed_fields: ["verification_status"], status_before: "pending", status_after: "verified" },
  ...{ document_type_after: "passport", version_after: 2, reason: "passport checked" },
};

/** The `components.schemas` of the trail. */
export const auditSchemas: Record<string, JsonSchema> = {
  AuditEvent: {
    type: "object",
    title: "Event of the audit trail",
    description:
      "Who did what, mostly to records. It stays when the records are deleted, and never changes, except that an erasure of the customer removes its reason.",
    properties: EVENT_FIELDS,
    required: Object.keys(EVENT_FIELDS),
    additionalProperties: false,
    examples: [EVENT],
  },
  AuditEventList: {
    type: "object",
    title: "Page of events",
    description: "Events, newest first in either direction of paging.",
    properties: {
      has_more: {
        type: "boolean",
        description: "Whether there are more events in the direction of paging.",
      },
      data: {
        type: "array",
        maxItems: MAX_PAGE_SIZE,
        items: reference("schemas", "AuditEvent"),
        description: "The events.",
      },
    },
    required: ["has_more", "data"],
    additionalProperties: false,
    examples: [{ has_more: false, data: [EVENT] }],
  },
};
