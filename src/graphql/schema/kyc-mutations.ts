import type { GraphQLResolveInfo } from "graphql";
import { requireScope } from "../../auth/scopes.ts";
import type { OperationContext } from "../../context.ts";
import { createKyc } from "../../kyc/create-kyc.ts";
import { NEWEST_FIRST, positionOf, toKycCursor } from "../../kyc/cursor.ts";
import { deleteKyc } from "../../kyc/delete-kyc.ts";
import type { ChangeableName, GivenName } from "../../kyc/fields.ts";
import type { ShownKyc } from "../../kyc/show-kyc.ts";
import { updateKyc } from "../../kyc/update-kyc.ts";
import { builder } from "./builder.ts";
import { Edge } from "./connection.ts";
import { KycEdge, KycType } from "./kyc.ts";
import { DocumentTypeEnum, VerificationStatusEnum } from "./kyc-filter.ts";
import { runMutation } from "./mutation.ts";
import { selectsRecord } from "./written-selection.ts";

const EXPECTED_VERSION =
  "The version that you saw. If the record has changed since then, nothing is written and the error is `VERSION_CONFLICT`, with the record's version in `extensions.currentVersion`.";

const REASON =
  "Why you do this, 1 to 500 printable characters, for the audit trail alone. It must not contain the document number.";

const NEEDS_READ =
  "Without the scope `kyc:read`, only `id` and `version` of the record can be selected. Null if it fails.";

export const CreateKycInputType = builder.inputType("CreateKycInput", {
  description: "A new record.",
  fields: (t) =>
    ({
      customerId: t.string({
        required: true,
        description: "Your own identifier of the customer, 1 to 128 printable characters.",
      }),
      verificationStatus: t.field({
        type: VerificationStatusEnum,
        required: true,
        description: "The status of the verification.",
      }),
      documentType: t.field({ type: DocumentTypeEnum, required: true, description: "The kind of document." }),
      documentNumber: t.string({
        required: true,
        description:
          "The number of the document, 1 to 64 printable characters; spaces around it are removed.",
      }),
      expiresAt: t.field({
        type: "DateTime",
        description: "When the record expires, in the years 1 to 9999. Null or absent: it does not.",
      }),
      relationshipEndedAt: t.field({
        type: "DateTime",
        description:
          "When the relationship with the customer ended or will end, in the years 1 to 9999. Null or absent: it continues.",
      }),
      reason: t.string({ description: REASON }),
    }) satisfies Record<GivenName | "reason", unknown>,
});

export const UpdateKycInputType = builder.inputType("UpdateKycInput", {
  description:
    "Changes to a record. Absent fields stay as they are. Null is an error, except that it removes `expiresAt` and `relationshipEndedAt`.",
  fields: (t) =>
    ({
      id: t.id({ required: true, description: "The id of the record." }),
      verificationStatus: t.field({ type: VerificationStatusEnum, description: "The new status." }),
      documentType: t.field({ type: DocumentTypeEnum, description: "The new kind of document." }),
      documentNumber: t.string({
        description:
          "The new number of the document, 1 to 64 printable characters; spaces around it are removed. The record's own masked number leaves it as it is. From a token without the scope `kyc:pii`, any other number is written as a new version, even if it is the same.",
      }),
      expiresAt: t.field({
        type: "DateTime",
        description: "When the record expires, in the years 1 to 9999. Null: it does not.",
      }),
      relationshipEndedAt: t.field({
        type: "DateTime",
        description:
          "When the relationship with the customer ended or will end, in the years 1 to 9999. Null: it continues.",
      }),
      expectedVersion: t.int({ description: EXPECTED_VERSION }),
      reason: t.string({ description: REASON }),
    }) satisfies Record<ChangeableName | "id" | "expectedVersion" | "reason", unknown>,
});

const DeleteKycInput = builder.inputType("DeleteKycInput", {
  description: "Which record to delete.",
  fields: (t) => ({
    id: t.id({ required: true, description: "The id of the record." }),
    expectedVersion: t.int({ description: EXPECTED_VERSION }),
    reason: t.string({ description: REASON }),
  }),
});

const CreateKycPayload = builder.objectRef<{ kyc: ShownKyc }>("CreateKycPayload").implement({
  description: "What `createKyc` did.",
  fields: (t) => ({
    kyc: t.expose("kyc", { type: KycType, description: "The new record." }),
    kycEdge: t.field({
      type: KycEdge,
      description:
        "The new record and its position in the list: clients can put it at the head of the lists that they keep.",
      resolve: ({ kyc }) =>
        new Edge<ShownKyc>(kyc, {
          cursorOf: (item) => toKycCursor(positionOf(item, NEWEST_FIRST.by)),
        }),
    }),
  }),
});

const UpdateKycPayload = builder.objectRef<{ kyc: ShownKyc }>("UpdateKycPayload").implement({
  description: "What `updateKyc` did.",
  fields: (t) => ({ kyc: t.expose("kyc", { type: KycType, description: "The record as it is now." }) }),
});

const DeleteKycPayload = builder.objectRef<{ deletedId: string }>("DeleteKycPayload").implement({
  description: "What `deleteKyc` did.",
  fields: (t) => ({
    deletedId: t.exposeID("deletedId", { description: "The id of the deleted record." }),
  }),
});

builder.mutationFields((t) => ({
  createKyc: t.field({
    type: CreateKycPayload,
    nullable: true,
    description: `Adds a record to your account. Sending it again adds another one, unless the request has an \`Idempotency-Key\`. Needs the scope \`kyc:write\`. ${NEEDS_READ}`,
    args: { input: t.arg({ type: CreateKycInputType, required: true, description: "The new record." }) },
    resolve: (_root, { input }, ctx, info) =>
      runMutation(ctx, async () => {
        requireSelection(ctx, info);
        return { kyc: await createKyc(ctx, toGiven(input)) };
      }),
  }),
  updateKyc: t.field({
    type: UpdateKycPayload,
    nullable: true,
    description: `Changes a record. A change of any value makes a new version; sending the same again changes nothing. An unmasked number from a token without \`kyc:pii\` always makes a new version, even if it is the same. Needs the scope \`kyc:write\`. ${NEEDS_READ}`,
    args: { input: t.arg({ type: UpdateKycInputType, required: true, description: "The changes." }) },
    resolve: (_root, { input }, ctx, info) =>
      runMutation(ctx, async () => {
        requireSelection(ctx, info);
        return { kyc: await updateKyc(ctx, toGiven(input)) };
      }),
  }),
  deleteKyc: t.field({
    type: DeleteKycPayload,
    nullable: true,
    description:
      "Deletes a record and all its data permanently. This can't be undone. Needs the scope `kyc:delete`. Null if it fails.",
    args: { input: t.arg({ type: DeleteKycInput, required: true, description: "Which record." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, async () => ({ deletedId: await deleteKyc(ctx, input) })),
  }),
}));

interface GivenTimes<Time> {
  expiresAt?: Time | null | undefined;
  relationshipEndedAt?: Time | null | undefined;
}

/** The input of the operation, with times in epoch milliseconds. */
export function toGiven<Input extends GivenTimes<Date>>(
  input: Input,
): Omit<Input, keyof GivenTimes<Date>> & GivenTimes<number> {
  const { expiresAt, relationshipEndedAt, ...given } = input;
  return {
    ...given,
    ...(expiresAt !== undefined && { expiresAt: expiresAt?.getTime() ?? null }),
    ...(relationshipEndedAt !== undefined && { relationshipEndedAt: relationshipEndedAt?.getTime() ?? null }),
  };
}

/** Fails with FORBIDDEN if a token without `kyc:read` selects more of the record than its id and version. */
export function requireSelection(ctx: OperationContext, info: GraphQLResolveInfo): void {
  requireScope(ctx.viewer, "kyc:write");
  if (selectsRecord(info)) requireScope(ctx.viewer, "kyc:read");
}
