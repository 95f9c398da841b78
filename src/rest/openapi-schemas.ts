import { z } from "zod";
import { createKycInput, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../kyc/input.ts";
import { ID_SHAPE } from "../kyc/kyc.ts";
import { toWireName } from "./errors.ts";
import { CREATE_PARAMS, type KycBody, type LIST_PARAMS, UPDATE_PARAMS } from "./kyc.ts";
import { type JsonSchema, reference } from "./openapi-components.ts";

/** What the operation asks of its input, under the names of the wire. */
const checked = Object.fromEntries(
  Object.entries(z.toJSONSchema(createKycInput).properties ?? {}).map(([name, schema]) => [
    toWireName(name),
    schema as JsonSchema,
  ]),
);

const id = { type: "string", pattern: ID_SHAPE.source };
const time = { type: "integer", format: "int64" };

const STATUS_WORDS = `How far the verification is.

- \`pending\`: nobody has looked at it yet.
- \`in_review\`: someone is looking at it.
- \`verified\`: the identity is proven.
- \`failed\`: the identity could not be proven.
- \`expired\`: it was proven once, and has to be proven again.`;

/** The fields of a record. A field that is added to the wire has to be described here. */
const FIELDS: Record<keyof KycBody, JsonSchema> = {
  id: {
    ...id,
    description: "Unique identifier for the KYC record. Ids of new records sort by the time of creation.",
    examples: ["xgQQXg3hrtjh7AvZ"],
  },
  customer_id: {
    ...checked.customer_id,
    description: "Your own identifier of the customer: printable characters.",
    examples: ["WAz8eIbvDR60rouK"],
  },
  verification_status: {
    ...reference("schemas", "VerificationStatus"),
    description: "Current status of the verification. Any status may follow any other.",
    examples: ["verified"],
  },
  document_type: {
    ...reference("schemas", "DocumentType"),
    description:
      "Type of document used for verification. Requests may also spell it as other providers do, in any case: " +
      "`driver's license`, `driver_license`, `driving_license`, `driving_licence`, `national_id`, " +
      "`national_identity_card`, `identity_card`. Answers always have the word that is listed here.",
    examples: ["passport"],
  },
  document_number: {
    ...checked.document_number,
    description:
      "Number of the verification document: printable characters; space around it is removed. Personal data: don't " +
      "log it. A token without the scope `kyc:pii` sees it masked, such as `•••••6789`, and may send it back so.",
    examples: ["123456789"],
  },
  created_at: {
    ...time,
    description: "When the record was created, in Unix seconds.",
    examples: [705103200],
  },
  updated_at: {
    ...time,
    description: "When a value of the record last changed, in Unix seconds. It never goes back.",
    examples: [705103200],
  },
};

const RECORD = Object.fromEntries(
  Object.entries(FIELDS).map(([name, { examples }]) => [name, (examples as unknown[])[0]]),
);

const pick = (names: readonly (keyof KycBody)[]) => Object.fromEntries(names.map((n) => [n, FIELDS[n]]));

/** Tools fill forms with examples; a change is of some fields, and no two are of the same ones. */
const withoutExamples = (fields: Record<string, JsonSchema>) =>
  Object.fromEntries(Object.entries(fields).map(([name, { examples, ...schema }]) => [name, schema]));

/** `components.schemas`, but for those of errors. */
export const recordSchemas: Record<string, JsonSchema> = {
  VerificationStatus: {
    title: "Verification status",
    ...checked.verification_status,
    description: STATUS_WORDS,
  },
  DocumentType: { title: "Document type", ...checked.document_type, description: "A kind of document." },
  Kyc: {
    type: "object",
    title: "KYC record",
    description: "A customer, a document, and how far its verification is.",
    properties: FIELDS,
    required: Object.keys(FIELDS),
    additionalProperties: false,
    examples: [RECORD],
  },
  KycList: {
    type: "object",
    title: "Page of KYC records",
    description: "Records, newest first, whichever way the list is walked.",
    properties: {
      has_more: {
        type: "boolean",
        description: "Whether there are more records in the direction of travel.",
      },
      data: {
        type: "array",
        maxItems: MAX_PAGE_SIZE,
        items: reference("schemas", "Kyc"),
        description: "The records.",
      },
    },
    required: ["has_more", "data"],
    additionalProperties: false,
    examples: [{ has_more: false, data: [RECORD] }],
  },
  KycCreation: {
    type: "object",
    title: "New KYC record",
    properties: pick(CREATE_PARAMS),
    required: [...CREATE_PARAMS],
    additionalProperties: false,
    examples: [
      {
        customer_id: RECORD.customer_id,
        verification_status: "pending",
        document_type: "passport",
        document_number: RECORD.document_number,
      },
    ],
  },
  KycChanges: {
    type: "object",
    title: "Changes to a KYC record",
    description:
      "Fields that are absent stay as they are. A record may be sent back as it was fetched: `id`, `customer_id`, " +
      "`created_at` and `updated_at` are taken where they equal the stored values, and refused where they don't.",
    properties: withoutExamples(pick(UPDATE_PARAMS)),
    additionalProperties: false,
    examples: [{ verification_status: "verified" }],
  },
  KycDeletion: {
    type: "object",
    title: "Deleted KYC record",
    properties: {
      id: { ...id, description: "The id of the record that is gone.", examples: [RECORD.id] },
      deleted: { type: "boolean", const: true, description: "Always true." },
    },
    required: ["id", "deleted"],
    additionalProperties: false,
    examples: [{ id: RECORD.id, deleted: true }],
  },
};

/** The query parameters of a list. One that is added to the route has to be described here. */
export const listParameters: Record<
  (typeof LIST_PARAMS)[number],
  { description: string; schema: JsonSchema }
> = {
  limit: {
    description: "How many records to show at most.",
    schema: { type: "integer", minimum: 1, maximum: MAX_PAGE_SIZE, default: DEFAULT_PAGE_SIZE },
  },
  customer_id: { description: "Only records of this customer.", schema: checked.customer_id ?? {} },
  verification_status: {
    description: "Only records with this status.",
    schema: reference("schemas", "VerificationStatus"),
  },
  document_number: {
    description: "Only records whose document has exactly this number. Needs the scope `kyc:pii`.",
    schema: checked.document_number ?? {},
  },
  starting_after: {
    description:
      "The id of a record: the page starts behind it, with older ones. It works also when the record has been " +
      "deleted since. Not together with `ending_before`.",
    schema: id,
  },
  ending_before: {
    description:
      "The id of a record: the page ends before it, with newer ones. It works also when the record has been " +
      "deleted since. Not together with `starting_after`.",
    schema: id,
  },
};

export const idSchema: JsonSchema = id;
export const reasonSchema: JsonSchema = checked["Kyc-Reason"] ?? {};
