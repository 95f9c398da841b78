import { type ListKycsInput, MAX_LISTED } from "../../kyc/input.ts";
import { DOCUMENTS, ORDERS, STATUSES } from "../../vocabulary.ts";
import { builder } from "./builder.ts";
import { enumValues } from "./enum-values.ts";

export const VerificationStatusEnum = builder.enumType("VerificationStatus", {
  description: "The status of a verification. Any status may follow any other.",
  values: enumValues(STATUSES),
});

export const DocumentTypeEnum = builder.enumType("DocumentType", {
  description: "The kind of document that the verification is based on.",
  values: enumValues(DOCUMENTS),
});

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

const LISTED = `At most ${MAX_LISTED}; the same one twice counts once, and an empty list matches nothing.`;

export const KycFilterInput = builder.inputType("KycFilter", {
  description: "Which records: those that match all given fields. Null means the same as absent.",
  fields: (t) => ({
    customerId: t.string({ description: "Only records of this customer." }),
    customerIdIn: t.stringList({ description: `Only records of these customers. ${LISTED}` }),
    verificationStatus: t.field({
      type: VerificationStatusEnum,
      description: "Only records with this status.",
    }),
    verificationStatusIn: t.field({
      type: [VerificationStatusEnum],
      description: `Only records with one of these statuses. ${LISTED}`,
    }),
    documentType: t.field({
      type: DocumentTypeEnum,
      description: "Only records with this kind of document.",
    }),
    documentTypeIn: t.field({
      type: [DocumentTypeEnum],
      description: `Only records with one of these kinds of document. ${LISTED}`,
    }),
    documentNumber: t.string({
      description:
        "Only records whose document has exactly this number. Needs the scope `kyc:pii`. Send it as a variable: it is personal data.",
    }),
    createdAt: t.field({ type: DateTimeRange, description: "Only records created in this span." }),
    updatedAt: t.field({ type: DateTimeRange, description: "Only records last changed in this span." }),
    statusSince: t.field({
      type: DateTimeRange,
      description:
        "Only records that got their status in this span: with `to` 30 days ago, those that have had it for longer than that.",
    }),
    expiresAt: t.field({
      type: DateTimeRange,
      description: "Only records that expire in this span. Records that don't expire are in no span.",
    }),
  }),
});

type Range = typeof DateTimeRange.$inferInput;
const toSpan = (range: Range | null | undefined) =>
  range && { from: range.from?.getTime(), to: range.to?.getTime() };

/** The filter of the operation, with times in epoch milliseconds. */
export function toFilter(filter: typeof KycFilterInput.$inferInput): ListKycsInput["filter"] {
  const { createdAt, updatedAt, statusSince, expiresAt, ...rest } = filter;
  return {
    ...rest,
    ...{ createdAt: toSpan(createdAt), updatedAt: toSpan(updatedAt) },
    ...{ statusSince: toSpan(statusSince), expiresAt: toSpan(expiresAt) },
  };
}

const KycOrderField = builder.enumType("KycOrderField", {
  description: "A time by which records can be listed. Records with the same time are sorted by their ids.",
  values: enumValues(ORDERS),
});

const OrderDirection = builder.enumType("OrderDirection", {
  description: "The direction of an order.",
  values: {
    ASC: { value: "asc", description: "The earliest first." },
    DESC: { value: "desc", description: "The latest first." },
  } as const,
});

export const KycOrder = builder.inputType("KycOrder", {
  description: "The order of a list of records.",
  fields: (t) => ({
    field: t.field({
      type: KycOrderField,
      required: true,
      defaultValue: "created_at",
      description: "The time by which the records are sorted.",
    }),
    direction: t.field({
      type: OrderDirection,
      required: true,
      defaultValue: "desc",
      description: "Whether the earliest or the latest comes first.",
    }),
  }),
});

/** The order of the operation. */
export function toOrder({ field, direction }: typeof KycOrder.$inferInput): ListKycsInput["orderBy"] {
  return { field, isDescending: direction === "desc" };
}
