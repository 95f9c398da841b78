import type { Scope } from "../../auth/scopes.ts";
import { LONGEST_KEY } from "../../idempotency/key.ts";
import { AUDIT_PARAMS, type AuditParam, HISTORY_PARAMS } from "../audit-params.ts";
import { EXPORT_FORMATS } from "../export-text.ts";
import { LIST_FILTERS } from "../list-params.ts";
import { auditParameters } from "./audit.ts";
import type { JsonSchema, RestOperation } from "./components.ts";
import { eventParameters } from "./events.ts";
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
  tag?: string;
  scope: Scope;
  parameters?: Parameter[];
  body?: { schema: string; required: boolean };
  success: { status: number; description: string; schemas: string[]; headers?: string[]; texts?: string[] };
}

const ifMatch: Parameter = {
  name: "If-Match",
  in: "header",
  description:
    'Do it only if the record is at one of these versions: `*`, or a list of entity tags such as `"1"`. Otherwise 412.',
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
    "Printable characters of your choice. A request that is sent again with its key within 24 hours is done once, and " +
    "answered as it was the first time. A request that is refused for its input, its token or the rate limit leaves its key unused.",
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
  description: "Answer 412 and do nothing if the record is at one of these versions: `*`, or a list of tags.",
};

const trail = (names: readonly AuditParam[]): Parameter[] => [
  ...names.map((name) => ({ ...{ name, in: "query" as const }, ...auditParameters[name] })),
  ifNoneMatch,
];
const PAGE_OF_EVENTS = {
  ...{ status: 200, description: "The page.", schemas: ["AuditEventList"], headers: ["Has-More"] },
  texts: ["text/csv"],
};
const AS_CSV =
  " With `Accept: text/csv`, the answer is a table with a header, times in ISO 8601, and spaces between the items of lists. " +
  "A text that a spreadsheet would run as a formula gets an apostrophe before it.";

const RECEIPT = " A token without the scope `kyc:read` gets only the record's id and version.";

/** What each call does. A route that is added must be described here. */
export const DESCRIPTIONS: Record<RestOperation, Description> = {
  listKycs: {
    summary: "List KYC records",
    description: "A page of your records, newest first; ten if no `limit` is given.",
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
      "The same page as the list for the same parameters, which are in the body: proxies log addresses, and " +
      "a document number must not be in a log.",
    scope: "kyc:read",
    body: { schema: "KycSearch", required: false },
    success: { status: 200, description: "The page.", schemas: ["KycList"] },
  },
  createKyc: {
    summary: "Create a KYC record",
    description: `Adds a record. Sending it again adds another one, unless it has an \`Idempotency-Key\`.${RECEIPT}`,
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
      "Changes the given fields and keeps the absent ones. A change of any value makes a new version; sending the same " +
      "again changes nothing. An unmasked number from a token without `kyc:pii` always makes a new version, even " +
      "if it is the same. `PUT`, `PATCH` and `POST` do the same." +
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
    description: "Deletes the record and all its data permanently. This can't be undone.",
    scope: "kyc:delete",
    parameters: [ifMatch, unlessMatch, idempotencyKey, reason],
    success: { status: 200, description: "The record is deleted.", schemas: ["KycDeletion"] },
  },
  listEvents: {
    summary: "List the changes of KYC records",
    description:
      "What happened to your records, oldest first: each change once, in the order of its position. Send the `id` of the " +
      "last event as `after` for the next page, or `next_after`, which empty pages have, too. With `wait`, the " +
      "answer comes as soon as there is an event. Clients that poll the list of records should use this instead: a list by " +
      "the time of creation shows neither changes nor deletions, and can miss records whose writes end late.",
    tag: "Events",
    scope: "kyc:read",
    parameters: [
      ...Object.entries(eventParameters).map(([name, parameter]) => ({
        ...{ name, in: "query" as const },
        ...parameter,
      })),
      ifNoneMatch,
    ],
    success: { status: 200, description: "The page.", schemas: ["KycEventList"] },
  },
  exportKycs: {
    summary: "Export KYC records",
    description:
      "All your records that match the filters, newest first, one in each line: as NDJSON, or as CSV with a header. The last " +
      "line says how many there are, the position of the next event, and the signed head of your account's log: without it, " +
      "the export is not complete. Numbers are masked without the scope `kyc:pii`. What changes during the export may be in " +
      "it or not: follow the events from the position on. In CSV, a text that a spreadsheet would run as a formula gets an " +
      "apostrophe before it; `kyc-gateway import` removes it.",
    scope: "kyc:read",
    parameters: [
      {
        ...{ name: "format", in: "query", description: "The form of the lines." },
        schema: { type: "string", enum: [...EXPORT_FORMATS], default: "ndjson" },
      },
      ...LIST_FILTERS.map((name) => ({ name, in: "query" as const, ...listParameters[name] })),
      ifNoneMatch,
    ],
    success: {
      ...{ status: 200, description: "The records.", schemas: [] },
      texts: ["application/x-ndjson", "text/csv"],
    },
  },
  listKycHistory: {
    summary: "List the events of a KYC record",
    description: `What was done to the record, newest first, also after its deletion.${AS_CSV}`,
    tag: "Audit trail",
    scope: "audit:read",
    parameters: trail(HISTORY_PARAMS),
    success: PAGE_OF_EVENTS,
  },
  listAuditEvents: {
    summary: "List the events of the audit trail",
    description: `Who did what in your account, newest first: events that match all parameters.${AS_CSV}`,
    tag: "Audit trail",
    scope: "audit:read",
    parameters: trail(AUDIT_PARAMS),
    success: PAGE_OF_EVENTS,
  },
};
