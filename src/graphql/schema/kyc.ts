import { countKycs, type StatusCount } from "../../kyc/count-kycs.ts";
import type { FieldName } from "../../kyc/fields.ts";
import { getKyc, getKycs } from "../../kyc/get-kyc.ts";
import { listKycs } from "../../kyc/list-kycs.ts";
import type { ShownKyc } from "../../kyc/show-kyc.ts";
import { COUNTS_COST, FILTERED_PAGE_COST, IDS_COST, SAME_DOCUMENT_COST } from "../documents/field-costs.ts";
import { builder } from "./builder.ts";
import { connectionOf, pageArgs, readAhead } from "./connection.ts";
import { showNumber } from "./field-errors.ts";
import {
  DocumentTypeEnum,
  KycFilterInput,
  KycOrder,
  toFilter,
  toOrder,
  VerificationStatusEnum,
} from "./kyc-filter.ts";

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
      sameDocumentCount: t.int({
        nullable: true,
        extensions: { cost: SAME_DOCUMENT_COST },
        description:
          "How many other records of your account have the same document number, counted up to 1000. Needs the scope `kyc:pii`: without it, it is null, and the answer has an error for the field.",
        resolve: (kyc) => kyc.countSameDocument(),
      }),
      createdAt: t.expose("createdAt", { type: "DateTime", description: "When the record was created." }),
      updatedAt: t.expose("updatedAt", {
        type: "DateTime",
        description: "When a value of the record last changed. It never goes backwards.",
      }),
      statusSince: t.expose("statusSince", {
        type: "DateTime",
        description: "When the record got its status. A change of other values leaves it as it is.",
      }),
      expiresAt: t.expose("expiresAt", {
        type: "DateTime",
        nullable: true,
        description:
          "When the record expires; null if it does not. A verified record becomes `EXPIRED` within seconds after that.",
      }),
      relationshipEndedAt: t.expose("relationshipEndedAt", {
        type: "DateTime",
        nullable: true,
        description:
          "When the relationship with the customer ended or will end; null if it continues. The time of retention begins then: docs/data.md.",
      }),
      version: t.exposeInt("version", {
        description:
          "1 for a new record, increased by one with each change. Send it as `expectedVersion` to change the record only if it is still as you saw it.",
      }),
    }) satisfies Record<Exclude<FieldName, "id"> | "sameDocumentCount", unknown>,
});

const { EdgeType, ConnectionType: KycConnection } = connectionOf<ShownKyc>(KycType, "record");
export const KycEdge = EdgeType;

const StatusCountType = builder.objectRef<StatusCount>("StatusCount").implement({
  description: "How many records have a status.",
  fields: (t) => ({
    status: t.expose("status", { type: VerificationStatusEnum, description: "The status." }),
    count: t.exposeInt("count", { description: "How many of the records that match the filter have it." }),
  }),
});

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
    extensions: { cost: FILTERED_PAGE_COST },
    description:
      "Your account's records, newest first unless `orderBy` says otherwise: the first ten if neither `first` nor `last` is given. Needs the scope `kyc:read`.",
    args: {
      ...pageArgs(t),
      filter: t.arg({ type: KycFilterInput, description: "Only records that match it." }),
      orderBy: t.arg({
        type: KycOrder,
        description:
          "The order of the records. A cursor works only with the field of the order in which its page was read, in either direction.",
      }),
    },
    resolve: async (_root, { first, after, last, before, filter, orderBy }, ctx, info) => {
      const page = { first, after, last, before };
      const input = { ...page, filter: filter && toFilter(filter), orderBy: orderBy && toOrder(orderBy) };
      return readAhead(await listKycs(ctx, input), info);
    },
  }),
  statusCounts: t.field({
    type: [StatusCountType],
    extensions: { cost: COUNTS_COST },
    description:
      "How many of your account's records have each status: one entry for each status, also if no record has it. It is one query, which takes as long as `totalCount`. Needs the scope `kyc:read`.",
    args: { filter: t.arg({ type: KycFilterInput, description: "Only records that match it." }) },
    resolve: (_root, { filter }, ctx) => countKycs(ctx, { filter: filter && toFilter(filter) }),
  }),
}));
