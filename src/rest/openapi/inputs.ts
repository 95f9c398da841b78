import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../../paging/page-input.ts";
import { DOCUMENT_TYPE_WORDS, OTHER_SPELLINGS, STATUS_WORDS } from "../../spellings.ts";
import { DOCUMENT_TYPES, VERIFICATION_STATUSES } from "../../vocabulary.ts";
import { CREATE_PARAMS, UPDATE_PARAMS } from "../kyc.ts";
import type { KycBody } from "../kyc-body.ts";
import { LIST_PARAMS } from "../list-params.ts";
import { type BoundParam, boundParams } from "../time-bounds.ts";
import { type JsonSchema, reference } from "./components.ts";
import { checked, idSchema, RECORD, RECORD_FIELDS } from "./schemas.ts";

const NUMBER_LENGTH = checked.document_number?.maxLength as number;

/** The fields of requests. A proxy that validates requests with these schemas must accept everything that the gateway does. */
const INPUT_FIELDS: Record<keyof KycBody, JsonSchema> = {
  ...RECORD_FIELDS,
  verification_status: {
    ...reference("schemas", "VerificationStatusInput"),
    description: "Current status of the verification. Any status may follow any other.",
    examples: ["verified", "in review"],
  },
  document_type: {
    ...reference("schemas", "DocumentTypeInput"),
    description: "Type of document used for verification.",
    examples: ["passport", "driver's license"],
  },
  document_number: {
    type: "string",
    // Characters are counted without surrounding spaces.
    pattern: `^\\s*\\S(?:.{0,${NUMBER_LENGTH - 2}}\\S)?\\s*$`,
    description:
      `Number of the verification document: 1 to ${NUMBER_LENGTH} printable characters; spaces around it are removed. ` +
      "Personal data: don't log it. A token without the scope `kyc:pii` may send the masked number back.",
    examples: ["123456789"],
  },
  created_at: asText(RECORD_FIELDS.created_at),
  updated_at: asText(RECORD_FIELDS.updated_at),
};

/** Forms have no numbers, and a client that reads its records from forms sends texts in JSON, too. */
function asText({ type, format, ...field }: JsonSchema): JsonSchema {
  return {
    ...field,
    anyOf: [
      { type, format },
      { type: "string", pattern: "^-?[0-9]+$" },
    ],
  };
}

const pick = (names: readonly (keyof KycBody)[]) =>
  Object.fromEntries(names.map((n) => [n, INPUT_FIELDS[n]]));

/** Tools fill in forms with examples. A change contains only some fields, so each example has other ones. */
const withoutExamples = (fields: Record<string, JsonSchema>) =>
  Object.fromEntries(Object.entries(fields).map(([name, { examples, ...schema }]) => [name, schema]));

interface ListParameter {
  description: string;
  schema: JsonSchema;
  deprecated?: boolean;
}

/** The meaning of each bound of the time of creation. */
const BOUNDS: Record<BoundParam<"created">, string> = {
  "created[gte]": "at this time or later",
  "created[gt]": "after this time",
  "created[lte]": "at this time or earlier",
  "created[lt]": "before this time",
};
const createdBounds = Object.fromEntries(
  Object.entries(BOUNDS).map(([name, when]): [string, ListParameter] => [
    name,
    {
      description: `Only records created ${when}, in whole Unix seconds, as \`created_at\` has them. One bound for each end.`,
      schema: { type: "integer", format: "int64" },
    },
  ]),
) as Record<BoundParam<"created">, ListParameter>;

/** The parameters of a list. A parameter that is added to the route must be described here. */
export const listParameters: Record<(typeof LIST_PARAMS)[number], ListParameter> = {
  limit: {
    description: "How many records to show at most.",
    schema: { type: "integer", minimum: 1, maximum: MAX_PAGE_SIZE, default: DEFAULT_PAGE_SIZE },
  },
  customer_id: { description: "Only records of this customer.", schema: checked.customer_id ?? {} },
  verification_status: {
    description: "Only records with this status.",
    schema: reference("schemas", "VerificationStatusInput"),
  },
  document_type: {
    description: "Only records with this type of document.",
    schema: reference("schemas", "DocumentTypeInput"),
  },
  ...createdBounds,
  document_number: {
    description:
      "Only records whose document has exactly this number. Needs the scope `kyc:pii`. Addresses end up in the logs " +
      "of proxies: send it in the body of `POST /v1/kyc/search` instead.",
    schema: { type: "string", pattern: INPUT_FIELDS.document_number.pattern },
    deprecated: true,
  },
  starting_after: {
    description:
      "The id of a record: the page starts after it, with older ones. It also works if the record has been " +
      "deleted since. Not together with `ending_before`.",
    schema: idSchema,
  },
  ending_before: {
    description:
      "The id of a record: the page ends before it, with newer ones. It also works if the record has been " +
      "deleted since. Not together with `starting_after`.",
    schema: idSchema,
  },
};

const searchFields = Object.fromEntries(
  LIST_PARAMS.map((name): [string, JsonSchema] => {
    const { description, schema } = listParameters[name];
    return [name, { ...schema, description }];
  }),
);

const listOf = (words: readonly string[]) => words.map((word) => `\`${word}\``).join(", ");

/** The `components.schemas` of requests. */
export const inputSchemas: Record<string, JsonSchema> = {
  VerificationStatusInput: {
    title: "Verification status in a request",
    type: "string",
    pattern: STATUS_WORDS.pattern,
    description: `${listOf(VERIFICATION_STATUSES)}, in any case, with spaces, hyphens or underscores. Answers have exactly these words.`,
    examples: [...VERIFICATION_STATUSES],
  },
  DocumentTypeInput: {
    title: "Document type in a request",
    type: "string",
    pattern: DOCUMENT_TYPE_WORDS.pattern,
    description:
      `${listOf(DOCUMENT_TYPES)}, in any case, with spaces, hyphens or underscores; also the spellings of other ` +
      `providers: ${listOf(OTHER_SPELLINGS)}. Answers have the words that are listed first.`,
    examples: [...DOCUMENT_TYPES, ...OTHER_SPELLINGS],
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
      "`created_at` and `updated_at` are accepted if they equal the stored values, and refused otherwise. A token " +
      "without the scope `kyc:read`, which can't have fetched it, sends neither these, but for `id`, nor a masked number.",
    properties: withoutExamples(pick(UPDATE_PARAMS)),
    additionalProperties: false,
    examples: [{ verification_status: "verified" }],
  },
  KycSearch: {
    type: "object",
    title: "Search for KYC records",
    description: "The parameters of the list, in a body.",
    properties: {
      ...searchFields,
      ...Object.fromEntries(boundParams("created").map((name) => [name, asText({ ...searchFields[name] })])),
      created: {
        type: "object",
        description: "In JSON, the bounds of the time of creation can be in an object.",
        properties: Object.fromEntries(
          boundParams("created").map((name) => [
            name.slice("created[".length, -1),
            asText({ ...searchFields[name] }),
          ]),
        ),
        additionalProperties: false,
      },
      limit: {
        description: listParameters.limit.description,
        anyOf: [
          { type: "integer", minimum: 1, maximum: MAX_PAGE_SIZE },
          { type: "string", pattern: "^0*(?:[1-9][0-9]?|100)$" },
        ],
        default: DEFAULT_PAGE_SIZE,
      },
      document_number: {
        ...INPUT_FIELDS.document_number,
        description: "Only records whose document has exactly this number. Needs the scope `kyc:pii`.",
      },
    },
    additionalProperties: false,
    examples: [{ document_number: RECORD.document_number }],
  },
};

/** The maximum number of bytes of a character in UTF-8. Validators count each byte of a header as a character. */
const WIDEST = 4;
/** A header of up to so many characters. */
export const textHeader = (length: number): JsonSchema => ({
  type: "string",
  minLength: 1,
  maxLength: WIDEST * length,
});
export const reasonSchema: JsonSchema = textHeader(checked["Kyc-Reason"]?.maxLength as number);
