import { isOnHold, listHolds, listHoldsOf } from "../../kyc/holds/list-holds.ts";
import { placeHold } from "../../kyc/holds/place-hold.ts";
import { releaseHold } from "../../kyc/holds/release-hold.ts";
import type { LegalHold } from "../../kyc/holds/store.ts";
import { LIST_COST, PAGE_COST } from "../documents/field-costs.ts";
import { builder } from "./builder.ts";
import { connectionOf, pageArgs, readAhead } from "./connection.ts";
import { KycType } from "./kyc.ts";
import { runMutation } from "./mutation.ts";

const NEEDS = "Needs the scope `kyc:hold`.";
const REASON =
  "1 to 500 printable characters. It must contain neither the customer's id nor a document number.";

const LegalHoldType = builder.objectRef<LegalHold>("LegalHold").implement({
  description: "A legal hold: while it is in force, the held record or customer can't be deleted.",
  fields: (t) => ({
    id: t.exposeID("id", { description: "The id of the hold." }),
    kycId: t.exposeID("kycId", {
      nullable: true,
      description: "The record that it is on; null if it is on a customer.",
    }),
    customerId: t.exposeString("customerId", {
      nullable: true,
      description:
        "The customer that it is on, with all records; null if it is on a record, and once it has ended: the filter `customerId` of `holds` still finds it then.",
    }),
    reason: t.exposeString("reason", {
      nullable: true,
      description: "Why it was placed; null if the customer was erased since.",
    }),
    placedAt: t.expose("placedAt", { type: "DateTime", description: "When it was placed." }),
    until: t.expose("until", {
      type: "DateTime",
      nullable: true,
      description: "When it ends by itself; null if it does not.",
    }),
    releasedAt: t.expose("releasedAt", {
      type: "DateTime",
      nullable: true,
      description: "When it was released; null if it was not.",
    }),
    releaseReason: t.exposeString("releaseReason", {
      nullable: true,
      description: "Why it was released; null if it was not, or if the customer was erased since.",
    }),
    isInForce: t.exposeBoolean("isInForce", {
      description: "Whether it is in force: it was neither released nor has it ended.",
    }),
  }),
});

builder.objectFields(KycType, (t) => ({
  onHold: t.boolean({
    extensions: { cost: { weight: 2 } },
    description: "Whether a legal hold on the record or its customer is in force: it can't be deleted then.",
    resolve: (kyc, _args, ctx) => isOnHold(ctx, kyc),
  }),
  holds: t.field({
    type: [LegalHoldType],
    nullable: true,
    extensions: { cost: LIST_COST },
    description: `The legal holds in force on the record and its customer, newest first. ${NEEDS} Null without it.`,
    resolve: (kyc, _args, ctx) => listHoldsOf(ctx, kyc),
  }),
}));

const { ConnectionType: LegalHoldConnection } = connectionOf<LegalHold>(LegalHoldType, "hold");

const LegalHoldFilter = builder.inputType("LegalHoldFilter", {
  description: "Which holds to list. Null means the same as absent.",
  fields: (t) => ({
    kycId: t.id({ description: "Only holds on this record itself, also after its deletion." }),
    customerId: t.string({
      description: "Only holds on this customer and its records, also after their deletion.",
    }),
    isInForce: t.boolean({
      description: "True: only holds that have not ended. False means the same as absent.",
    }),
  }),
});

builder.queryField("holds", (t) =>
  t.field({
    type: LegalHoldConnection,
    extensions: { cost: PAGE_COST },
    description: `The legal holds of your account, newest first, also those that have ended. ${NEEDS}`,
    args: {
      ...pageArgs(t),
      filter: t.arg({ type: LegalHoldFilter, description: "Only holds that match it." }),
    },
    resolve: (_root, input, ctx, info) => readAhead(listHolds(ctx, input), info),
  }),
);

const PlaceHoldInput = builder.inputType("PlaceHoldInput", {
  description: "A new legal hold, on a record or on a customer.",
  fields: (t) => ({
    kycId: t.id({ description: "The record. Not together with `customerId`." }),
    customerId: t.string({
      description:
        "The customer: all its records are held, including future ones. It needs no record. Not together with `kycId`.",
    }),
    reason: t.string({ required: true, description: `Why. ${REASON}` }),
    until: t.field({
      type: "DateTime",
      description:
        "When it ends by itself, by the database's clock. Null or absent: only when it is released.",
    }),
  }),
});

const ReleaseHoldInput = builder.inputType("ReleaseHoldInput", {
  description: "Which hold to release.",
  fields: (t) => ({
    id: t.id({ required: true, description: "The id of the hold." }),
    reason: t.string({ required: true, description: `Why. ${REASON}` }),
  }),
});

const payload = (name: string, field: string) =>
  builder.objectRef<{ hold: LegalHold }>(name).implement({
    description: `What \`${field}\` did.`,
    fields: (t) => ({
      hold: t.expose("hold", { type: LegalHoldType, description: "The hold as it is now." }),
    }),
  });
const PlaceHoldPayload = payload("PlaceHoldPayload", "placeHold");
const ReleaseHoldPayload = payload("ReleaseHoldPayload", "releaseHold");

builder.mutationFields((t) => ({
  placeHold: t.field({
    type: PlaceHoldPayload,
    nullable: true,
    description: `Places a legal hold. Until it ends, every deletion of the held record or customer fails with \`LEGAL_HOLD\`. ${NEEDS} Null if it fails.`,
    args: { input: t.arg({ type: PlaceHoldInput, required: true, description: "The new hold." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, async () => ({ hold: await placeHold(ctx, toPlaced(input)) })),
  }),
  releaseHold: t.field({
    type: ReleaseHoldPayload,
    nullable: true,
    description: `Releases a legal hold. Releasing it again changes nothing. ${NEEDS} Null if it fails.`,
    args: { input: t.arg({ type: ReleaseHoldInput, required: true, description: "Which hold." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, async () => ({ hold: await releaseHold(ctx, input) })),
  }),
}));

/** The input of the operation, with times in epoch milliseconds. */
function toPlaced<Input extends { until?: Date | null | undefined }>({ until, ...input }: Input) {
  return { ...input, until: until == null ? until : until.getTime() };
}
