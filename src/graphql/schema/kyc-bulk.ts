import type { AppError, FieldFault } from "../../errors.ts";
import type { WrittenKyc } from "../../kyc/bulk.ts";
import { createKycs } from "../../kyc/create-kycs.ts";
import { updateKycs } from "../../kyc/update-kycs.ts";
import { COUNTED_COST, FAULTS_COST, ITEMS_COST } from "../documents/field-costs.ts";
import { builder } from "./builder.ts";
import { KycType } from "./kyc.ts";
import { CreateKycInputType, requireSelection, toGiven, UpdateKycInputType } from "./kyc-mutations.ts";
import { runMutation } from "./mutation.ts";

/** The outcome of an item and its index in the call. */
type Outcome = WrittenKyc & { index: number };
type Failed = { error: AppError; index: number };

const WriteErrorField = builder.objectRef<FieldFault>("WriteErrorField").implement({
  description: "A field of an item that is at fault.",
  fields: (t) => ({
    path: t.string({
      description: "The field, by its path from the argument, such as `input.3.documentNumber`.",
      resolve: ({ path }) => path.join("."),
    }),
    message: t.exposeString("message", { description: "What is wrong with it." }),
  }),
});

const WriteError = builder.objectRef<Failed>("WriteError").implement({
  description: "Why an item was not written. It says what the error of a single mutation says.",
  fields: (t) => ({
    code: t.string({
      description:
        "`BAD_USER_INPUT`, `NOT_FOUND`, `VERSION_CONFLICT` or `INTERNAL`, as in `extensions.code`.",
      resolve: ({ error }) => error.code,
    }),
    message: t.string({ description: "The error for people.", resolve: ({ error }) => error.message }),
    fields: t.field({
      type: [WriteErrorField],
      extensions: { cost: FAULTS_COST },
      description: "The fields at fault, for `BAD_USER_INPUT`; otherwise empty.",
      resolve: ({ error, index }) =>
        error.faults.map((fault) => ({ ...fault, path: ["input", index, ...fault.path] })),
    }),
    currentVersion: t.int({
      nullable: true,
      description: "The version that the record has, for `VERSION_CONFLICT`.",
      resolve: ({ error }) => error.currentVersion ?? null,
    }),
  }),
});

const WriteResult = builder.objectRef<Outcome>("WriteResult").implement({
  description: "The outcome of one item: either `kyc` or `error` is null.",
  fields: (t) => ({
    kyc: t.expose("kyc", {
      type: KycType,
      nullable: true,
      description: "The record as it is after this item; null if the item failed.",
    }),
    error: t.field({
      type: WriteError,
      nullable: true,
      description: "Why the item failed; null if it was written.",
      resolve: ({ error, index }) => error && { error, index },
    }),
  }),
});

const payloadOf = (name: string, mutation: string) =>
  builder.objectRef<{ results: Outcome[] }>(name).implement({
    description: `What \`${mutation}\` did.`,
    fields: (t) => ({
      results: t.field({
        type: [WriteResult],
        extensions: { cost: COUNTED_COST },
        description: "One outcome for each item, in the order of the items.",
        resolve: ({ results }) => results,
      }),
    }),
  });
const CreateKycsPayload = payloadOf("CreateKycsPayload", "createKycs");
const UpdateKycsPayload = payloadOf("UpdateKycsPayload", "updateKycs");

const toResults = (written: WrittenKyc[]) => ({
  results: written.map((one, index): Outcome => ({ ...one, index })),
});

const EACH =
  "A fault of one item leaves the others as they are: look at each `error`. An `Idempotency-Key` covers all items: a repetition gets the same outcomes. The field itself fails, and nothing is written, without the scope `kyc:write`, with more than 100 items, and if the database can't be reached. Without the scope `kyc:read`, only `id` and `version` of the records can be selected.";

builder.mutationFields((t) => ({
  createKycs: t.field({
    type: CreateKycsPayload,
    nullable: true,
    extensions: { cost: ITEMS_COST },
    description: `Adds up to 100 records, each as \`createKyc\` does. ${EACH}`,
    args: { input: t.arg({ type: [CreateKycInputType], required: true, description: "The new records." }) },
    resolve: (_root, { input }, ctx, info) =>
      runMutation(ctx, async () => {
        requireSelection(ctx, info);
        return toResults(await createKycs(ctx, input.map(toGiven)));
      }),
  }),
  updateKycs: t.field({
    type: UpdateKycsPayload,
    nullable: true,
    extensions: { cost: ITEMS_COST },
    description: `Changes up to 100 records, each as \`updateKyc\` does. If a record occurs several times, its changes are made one after another. ${EACH}`,
    args: {
      input: t.arg({ type: [UpdateKycInputType], required: true, description: "The changes of records." }),
    },
    resolve: (_root, { input }, ctx, info) =>
      runMutation(ctx, async () => {
        requireSelection(ctx, info);
        return toResults(await updateKycs(ctx, input.map(toGiven)));
      }),
  }),
}));
