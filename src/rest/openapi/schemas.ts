import { z } from "zod";
import { createKycInput } from "../../kyc/input.ts";
import { numberUnreadable } from "../../kyc/show-kyc.ts";
import { ID_SHAPE } from "../../kyc-id.ts";
import { MAX_PAGE_SIZE } from "../../paging/page-input.ts";
import { STATUSES } from "../../vocabulary.ts";
import { renderFailure, toWireName } from "../errors.ts";
import type { KycBody } from "../kyc-body.ts";
import { type JsonSchema, reference } from "./components.ts";
import { errorObject } from "./errors.ts";

/** The operation's own input rules under the REST names. */
export const checked = Object.fromEntries(
  Object.entries(z.toJSONSchema(createKycInput).properties ?? {}).map(([name, schema]) => [
    toWireName(name),
    schema as JsonSchema,
  ]),
);

export const idSchema: JsonSchema = { type: "string", pattern: ID_SHAPE.source };
const time = { type: "integer", format: "int64" };

/** A sentence as part of a list. */
const uncapitalized = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);
const STATUS_MEANINGS = [
  "The status of the verification.\n",
  ...Object.entries(STATUSES).map(([status, meaning]) => `- \`${status}\`: ${uncapitalized(meaning)}`),
].join("\n");

/** The fields of a record on REST. A new field must be described here. */
export const RECORD_FIELDS: Record<keyof KycBody, JsonSchema> = {
  id: {
    ...idSchema,
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
    description: "Type of document used for verification.",
    examples: ["passport"],
  },
  document_number: {
    ...checked.document_number,
    description:
      "Number of the verification document. Personal data: don't log it. A token without the scope `kyc:pii` sees " +
      "it masked, such as `•••••6789`.",
    examples: ["123456789"],
  },
  created_at: {
    ...time,
    description: "When the record was created, in Unix seconds.",
    examples: [705103200],
  },
  updated_at: {
    ...time,
    description: "When a value of the record last changed, in Unix seconds. It never goes backwards.",
    examples: [705103200],
  },
};

/** The record of every example. */
export const RECORD = Object.fromEntries(
  Object.entries(RECORD_FIELDS).map(([name, { examples }]) => [name, (examples as unknown[])[0]]),
);

/** The `components.schemas` of answers, except those of errors. */
export const recordSchemas: Record<string, JsonSchema> = {
  VerificationStatus: {
    title: "Verification status",
    ...checked.verification_status,
    description: STATUS_MEANINGS,
  },
  DocumentType: { title: "Document type", ...checked.document_type, description: "A kind of document." },
  Kyc: {
    type: "object",
    title: "KYC record",
    description: "A customer, a document, and the status of its verification.",
    properties: RECORD_FIELDS,
    required: Object.keys(RECORD_FIELDS),
    additionalProperties: false,
    examples: [RECORD],
  },
  KycReceipt: {
    type: "object",
    title: "Written KYC record",
    description: "What a token without the scope `kyc:read` gets of the record that it wrote.",
    properties: {
      id: { ...idSchema, description: "Unique identifier for the KYC record.", examples: [RECORD.id] },
      version: {
        type: "integer",
        format: "int32",
        minimum: 1,
        description: "1 for a new record, increased by one with each change. The `ETag` has it, too.",
        examples: [1],
      },
    },
    required: ["id", "version"],
    additionalProperties: false,
    examples: [{ id: RECORD.id, version: 1 }],
  },
  UnreadableKyc: {
    type: "object",
    title: "KYC record without its document number",
    description:
      "A record whose document number can't be decrypted, in a page or after an update that changes nothing.",
    properties: {
      ...RECORD_FIELDS,
      document_number: { type: "null", description: "Always null." },
      error: {
        ...errorObject,
        description:
          "In a page: why there is no number. An update with the document number repairs the record.",
      },
    },
    required: Object.keys(RECORD_FIELDS),
    additionalProperties: false,
    examples: [{ ...RECORD, document_number: null, ...renderFailure(numberUnreadable()) }],
  },
  KycList: {
    type: "object",
    title: "Page of KYC records",
    description: "Records, newest first in either direction of paging.",
    properties: {
      has_more: {
        type: "boolean",
        description: "Whether there are more records in the direction of paging.",
      },
      data: {
        type: "array",
        maxItems: MAX_PAGE_SIZE,
        items: { anyOf: [reference("schemas", "Kyc"), reference("schemas", "UnreadableKyc")] },
        description: "The records.",
      },
    },
    required: ["has_more", "data"],
    additionalProperties: false,
    examples: [{ has_more: false, data: [RECORD] }],
  },
  KycDeletion: {
    type: "object",
    title: "Deleted KYC record",
    properties: {
      id: { ...idSchema, description: "The id of the deleted record.", examples: [RECORD.id] },
      deleted: { type: "boolean", const: true, description: "Always true." },
    },
    required: ["id", "deleted"],
    additionalProperties: false,
    examples: [{ id: RECORD.id, deleted: true }],
  },
};
