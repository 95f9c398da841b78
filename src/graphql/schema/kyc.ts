import type { FieldName } from "../../kyc/fields.ts";
import { getKyc, getKycs } from "../../kyc/get-kyc.ts";
import type { ListKycsInput } from "../../kyc/input.ts";
import { listKycs } from "../../kyc/list-kycs.ts";
import type { ShownKyc } from "../../kyc/show-kyc.ts";
import { DOCUMENTS, STATUSES, wordsOf } from "../../vocabulary.ts";
import { IDS_COST, PAGE_COST } from "../documents/cost.ts";
import { builder } from "./builder.ts";
import { connectionOf, pageArgs, readAhead } from "./connection.ts";
import { showNumber } from "./field-errors.ts";

/** The values of an enum, one for each word of the table. */
export function enumValues<Word extends string>(table: Readonly<Record<Word, string>>) {
  const values = wordsOf(table).map((word) => [
    word.toUpperCase(),
    { value: word, description: table[word] },
  ]);
  return Object.fromEntries(values) as { [W in Word as Uppercase<W>]: { value: W; description: string } };
}

export const VerificationStatusEnum = builder.enumType("VerificationStatus", {
  description: "The status of a verification. Any status may follow any other.",
  values: enumValues(STATUSES),
});

export const DocumentTypeEnum = builder.enumType("DocumentType", {
  description: "The kind of document that the verification is based on.",
  values: enumValues(DOCUMENTS),
});

// We don't use Pothos' Relay plugin: it returns a promise for each id, and graphql-js then makes more promises for every
// record, edge and list around it. A page of ten took 495 µs of CPU time in GraphQL with it, and takes 254 µs without.
const Node = builder.interfaceRef<ShownKyc>("Node").implement({
  description: "An object that can be fetched by its id alone.",
  resolveType: () => "Kyc",
  fields: (t) => ({
    // Both surfaces use the record's own id.
    id: t.exposeID("id", {
      description: "The object's id. It is the same on GraphQL and REST, and never changes.",
    }),
  }),
});

export const KycType = builder.objectRef<ShownKyc>("Kyc").implement({
  description: "One Know-Your-Customer record: a customer, a document, and the status of its verification.",
  interfaces: [Node],
  fields: (t) =>
    ({
      customerId: t.exposeString("customerId", { description: "Your own identifier of the customer." }),
      verificationStatus: t.expose("verificationStatus", {
        type: VerificationStatusEnum,
        description: "The status of the verification.",
      }),
      documentType: t.expose("documentType", {
        type: DocumentTypeEnum,
        description: "The kind of document.",
      }),
      documentNumber: t.string({
        description:
          "The number of the document. Personal data: don't log it, and don't put it in URLs. For a token without the scope `kyc:pii` it is masked, such as `•••••6789`. If it can't be decrypted, it is `••••`, and the answer has an error for the field.",
        resolve: (kyc, _args, ctx, info) => showNumber(kyc, ctx, info),
      }),
      createdAt: t.expose("createdAt", { type: "DateTime", description: "When the record was created." }),
      updatedAt: t.expose("updatedAt", {
        type: "DateTime",
        description: "When a value of the record last changed. It never goes backwards.",
      }),
      version: t.exposeInt("version", {
        description:
          "1 for a new record, increased by one with each change. Send it as `expectedVersion` to change the record only if it is still as you saw it.",
      }),
    }) satisfies Record<Exclude<FieldName, "id">, unknown>,
});

const { EdgeType, ConnectionType: KycConnection } = connectionOf<ShownKyc>(KycType, "record");
export const KycEdge = EdgeType;

export const DateTimeRange = builder.inputType("DateTimeRange", {
  description: "A span of time.",
  fields: (t) => ({
    from: t.field({
      type: "DateTime",
      description: "The start, included. Without it, the span has no start.",
    }),
    to: t.field({ type: "DateTime", description: "The end, excluded. Without it, the span has no end." }),
  }),
});

const KycFilter = builder.inputType("KycFilter", {
  description: "Which records to list: those that match all given fields. Null means the same as absent.",
  fields: (t) => ({
    customerId: t.string({ description: "Only records of this customer." }),
    verificationStatus: t.field({
      type: VerificationStatusEnum,
      description: "Only records with this status.",
    }),
    documentType: t.field({
      type: DocumentTypeEnum,
      description: "Only records with this kind of document.",
    }),
    documentNumber: t.string({
      description:
        "Only records whose document has exactly this number. Needs the scope `kyc:pii`. Send it as a variable: it is personal data.",
    }),
    createdAt: t.field({ type: DateTimeRange, description: "Only records created in this span." }),
  }),
});

function toFilter({
  customerId,
  verificationStatus,
  documentType,
  documentNumber,
  createdAt,
}: typeof KycFilter.$inferInput): ListKycsInput["filter"] {
  const span = createdAt && { from: createdAt.from?.getTime(), to: createdAt.to?.getTime() };
  return { customerId, verificationStatus, documentType, documentNumber, createdAt: span };
}

builder.queryFields((t) => ({
  kyc: t.field({
    type: KycType,
    nullable: true,
    description: "The record with this id, or null if your account has none. Needs the scope `kyc:read`.",
    args: { id: t.arg.id({ required: true, description: "The id of the record." }) },
    resolve: (_root, { id }, ctx) => getKyc(ctx, id),
  }),
  node: t.field({
    type: Node,
    nullable: true,
    description:
      "The object with this id, or null if your account has none. Relay clients use it to refetch. Needs the scope `kyc:read`.",
    args: { id: t.arg.id({ required: true, description: "The id of the object." }) },
    resolve: (_root, { id }, ctx) => getKyc(ctx, id),
  }),
  nodes: t.field({
    type: [Node],
    nullable: { list: false, items: true },
    extensions: { cost: IDS_COST },
    description:
      "The objects with these ids, in their order: null for each that your account does not have. At most 100 at once. Needs the scope `kyc:read`.",
    args: { ids: t.arg.idList({ required: true, description: "The ids of the objects, at most 100." }) },
    resolve: (_root, { ids }, ctx) => getKycs(ctx, ids),
  }),
  kycs: t.field({
    type: KycConnection,
    extensions: { cost: PAGE_COST },
    description:
      "Your account's records, newest first: the first ten if neither `first` nor `last` is given. Needs the scope `kyc:read`.",
    args: {
      ...pageArgs(t),
      filter: t.arg({ type: KycFilter, description: "Only records that match it." }),
    },
    resolve: async (_root, { first, after, last, before, filter }, ctx, info) => {
      const input = { first, after, last, before, filter: filter && toFilter(filter) };
      return readAhead(await listKycs(ctx, input), info);
    },
  }),
}));
