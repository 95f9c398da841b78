import { requireViewer } from "../../auth/scopes.ts";
import type { OperationContext } from "../../context.ts";
import { eraseCustomer, getErasure, pageOfErased } from "../../kyc/erasure/erase-customer.ts";
import type { ErasedRecord, StoredErasure } from "../../kyc/erasure/store.ts";
import { type EventProof, waitForProof } from "../../ledger/prove-event.ts";
import { PAGE_COST, PROOF_COST } from "../documents/field-costs.ts";
import { builder } from "./builder.ts";
import { runMutation } from "./mutation.ts";

/** How long a receipt waits for the positions of thousands of events. Milliseconds. */
const PATIENCE_MS = 10_000;

const prove = (ctx: OperationContext, sequence: number): Promise<EventProof> =>
  waitForProof(ctx, requireViewer(ctx.viewer).accountId, sequence, PATIENCE_MS);

const POSITION =
  "The position of the event in your account's log. It waits until the event has one, up to ten seconds, and fails with `UNAVAILABLE` then.";
const PROOF = "The proof that the event is in the log, as in `AuditEvent.proof`.";

const ErasedRecordType = builder.objectRef<ErasedRecord>("ErasedRecord").implement({
  description: "A record that an erasure has deleted.",
  fields: (t) => ({
    kycId: t.exposeID("kycId", { description: "The id that the record had." }),
    position: t.field({
      type: "SafeInt",
      extensions: { cost: PROOF_COST },
      description: POSITION,
      resolve: async ({ sequence }, _args, ctx) => (await prove(ctx, sequence)).position,
    }),
    proof: t.string({
      extensions: { cost: PROOF_COST },
      description: PROOF,
      resolve: async ({ sequence }, _args, ctx) => (await prove(ctx, sequence)).text,
    }),
  }),
});

const ErasureType = builder.objectRef<StoredErasure>("Erasure").implement({
  description:
    "The erasure of a customer: its receipt. It names neither the customer nor values of the records.",
  fields: (t) => ({
    id: t.exposeID("id", { description: "The id of the erasure, which is the `subject` of its event." }),
    erasedAt: t.expose("erasedAt", { type: "DateTime", description: "When it was done." }),
    recordCount: t.int({
      description: "How many records were deleted.",
      resolve: ({ records }) => records.length,
    }),
    position: t.field({
      type: "SafeInt",
      extensions: { cost: PROOF_COST },
      description: `${POSITION} The event is that of the erasure itself, \`CUSTOMER_ERASED\`.`,
      resolve: async ({ sequence }, _args, ctx) => (await prove(ctx, sequence)).position,
    }),
    proof: t.string({
      extensions: { cost: PROOF_COST },
      description: `${PROOF} The event is that of the erasure itself.`,
      resolve: async ({ sequence }, _args, ctx) => (await prove(ctx, sequence)).text,
    }),
    records: t.field({
      type: [ErasedRecordType],
      extensions: { cost: PAGE_COST },
      description: "The deleted records, in the order of their ids: `first` of them after the first `skip`.",
      args: {
        first: t.arg.int({ description: "How many, 0 to 100; ten if absent." }),
        skip: t.arg.int({ description: "How many of them to leave out; none if absent." }),
      },
      resolve: (erasure, { first, skip }) => pageOfErased(erasure, { first: first ?? 10, skip: skip ?? 0 }),
    }),
  }),
});

const EraseCustomerInput = builder.inputType("EraseCustomerInput", {
  description: "Which customer to erase.",
  fields: (t) => ({
    customerId: t.string({ required: true, description: "Your own identifier of the customer." }),
    reason: t.string({
      required: true,
      description:
        "Why, 1 to 500 printable characters. It stays in the audit trail, so it must contain neither the customer's id nor a document number.",
    }),
  }),
});

const EraseCustomerPayload = builder.objectRef<{ erasure: StoredErasure }>("EraseCustomerPayload").implement({
  description: "What `eraseCustomer` did.",
  fields: (t) => ({ erasure: t.expose("erasure", { type: ErasureType, description: "The receipt." }) }),
});

builder.mutationField("eraseCustomer", (t) =>
  t.field({
    type: EraseCustomerPayload,
    nullable: true,
    description:
      "Deletes all records of a customer permanently, in one transaction, and the reasons that earlier events of the customer have. This can't be undone. It fails as a whole if the customer or a record is under a legal hold, or if there are more than 10,000 records. Needs the scope `kyc:delete`. Null if it fails.",
    args: { input: t.arg({ type: EraseCustomerInput, required: true, description: "Which customer." }) },
    resolve: (_root, { input }, ctx) =>
      runMutation(ctx, async () => ({ erasure: await eraseCustomer(ctx, input) })),
  }),
);

builder.queryField("erasure", (t) =>
  t.field({
    type: ErasureType,
    nullable: true,
    description:
      "The receipt of an erasure; null if your account has none with this id. Needs the scope `audit:read`.",
    args: { id: t.arg.id({ required: true, description: "The id of the erasure." }) },
    resolve: (_root, { id }, ctx) => getErasure(ctx, id),
  }),
);
