import type { Scope } from "../../auth/scopes.ts";
import { LONGEST_KEY } from "../../idempotency/key.ts";
import type { RestOperation } from "../kyc.ts";
import type { JsonSchema } from "./components.ts";
import { listParameters, reasonSchema, textHeader } from "./inputs.ts";

interface Parameter {
  name: string;
  in: "query" | "header";
  description: string;
  schema: JsonSchema;
  deprecated?: boolean;
}

interface Description {
  summary: string;
  description: string;
  scope: Scope;
  parameters?: Parameter[];
  body?: { schema: string; required: boolean };
  success: { status: number; description: string; schemas: string[]; headers?: string[] };
}

const ifMatch: Parameter = {
  name: "If-Match",
  in: "header",
  description:
    'Do it only if the record is at one of these versions: `*`, or a list of entity tags such as `"1"`. Else 412.',
  schema: { type: "string" },
};

const reason: Parameter = {
  name: "Kyc-Reason",
  in: "header",
  description:
    "Why you do it, for the audit trail: printable characters in UTF-8, without the document number.",
  schema: reasonSchema,
};

export const idempotencyKey: Parameter = {
  name: "Idempotency-Key",
  in: "header",
  description:
    "Printable characters of your choice. A request that comes again with its key within 24 hours is done once, and " +
    "answered as it was the first time. What is refused for its input, its token or too many requests uses no key up.",
  schema: textHeader(LONGEST_KEY),
};

export const ifNoneMatch: Parameter = {
  name: "If-None-Match",
  in: "header",
  description: "Answer 304 if the record is at one of these versions: `*`, or a list of entity tags.",
  schema: { type: "string" },
};

const unlessMatch: Parameter = {
  ...ifNoneMatch,
  description:
    "Don't do it, but answer 412, if the record is at one of these versions: `*`, or a list of tags.",
};

const RECEIPT = " A token without the scope `kyc:read` is answered the record's id and version alone.";

/** What each call does. A route that is added must be described here. */
export const DESCRIPTIONS: Record<RestOperation, Description> = {
  listKycs: {
    summary: "List KYC records",
    description: "A page of your records, newest first, ten where no `limit` is given.",
    scope: "kyc:read",
    parameters: [
      ...Object.entries(listParameters).map(([name, parameter]) => ({
        ...{ name, in: "query" as const },
        ...parameter,
      })),
      ifNoneMatch,
    ],
    success: { status: 200, description: "The page.", schemas: ["KycList"] },
  },
  searchKycs: {
    summary: "Search for KYC records",
    description:
      "The page that the list has for the same parameters, which the body holds: addresses end up in the logs of " +
      "proxies, and a document number must not.",
    scope: "kyc:read",
    body: { schema: "KycSearch", required: false },
    success: { status: 200, description: "The page.", schemas: ["KycList"] },
  },
  createKyc: {
    summary: "Create a KYC record",
    description: `Adds a record. Sending it again adds another, unless it has an \`Idempotency-Key\`.${RECEIPT}`,
    scope: "kyc:write",
    parameters: [idempotencyKey, reason],
    body: { schema: "KycCreation", required: true },
    success: {
      status: 201,
      description: "The new record.",
      schemas: ["Kyc", "KycReceipt"],
      headers: ["ETag", "Location"],
    },
  },
  getKyc: {
    summary: "Retrieve a KYC record",
    description: "The record with this id.",
    scope: "kyc:read",
    parameters: [ifMatch, ifNoneMatch],
    success: { status: 200, description: "The record.", schemas: ["Kyc"], headers: ["ETag"] },
  },
  updateKyc: {
    summary: "Update a KYC record",
    description:
      "Changes what is given and keeps what is absent. A change of any value makes a new version; sending the same " +
      "again changes nothing. An unmasked number from a token without `kyc:pii` always makes a new version, whether " +
      "it is another one or not. `PUT`, `PATCH` and `POST` do the same." +
      RECEIPT,
    scope: "kyc:write",
    parameters: [ifMatch, unlessMatch, idempotencyKey, reason],
    body: { schema: "KycChanges", required: false },
    success: {
      status: 200,
      description: "The record as it is now.",
      schemas: ["Kyc", "UnreadableKyc", "KycReceipt"],
      headers: ["ETag"],
    },
  },
  deleteKyc: {
    summary: "Delete a KYC record",
    description: "Deletes the record and all its data for good. This can't be undone.",
    scope: "kyc:delete",
    parameters: [ifMatch, unlessMatch, idempotencyKey, reason],
    success: { status: 200, description: "The record is gone.", schemas: ["KycDeletion"] },
  },
};
