import { exportWholeCustomer } from "../../kyc/customer-export/export-customer.ts";
import { CUSTOMER_EXPORT_COST } from "../documents/field-costs.ts";
import { builder } from "./builder.ts";

const CustomerExport = builder
  .objectRef<Awaited<ReturnType<typeof exportWholeCustomer>>>("CustomerExport")
  .implement({
    description: "Everything that is held about a customer, as one file.",
    fields: (t) => ({
      exportedAt: t.expose("exportedAt", { type: "DateTime", description: "When it was exported." }),
      position: t.expose("position", {
        type: "SafeInt",
        description:
          "The position of your account's next event when the export began: events from there on can be missing in it.",
      }),
      checkpoint: t.exposeString("checkpoint", {
        description: "The signed head of your account's log at that moment.",
      }),
      content: t.exposeString("content", {
        description:
          "The file: a JSON object as text, to save or to parse. It has the members `records` (with their numbers in full), `deleted_records`, `holds`, `erasures`, `webhook_deliveries` and `events`, each a list, newest first, and their lengths in `counts`. `docs/data.md` describes it.",
      }),
    }),
  });

builder.queryField("customerExport", (t) =>
  t.field({
    type: CustomerExport,
    nullable: true,
    extensions: { cost: CUSTOMER_EXPORT_COST },
    description:
      "Everything that your account holds about a customer, for an access request: records, events (also of deleted records), legal holds, erasures and webhook deliveries. The audit trail gets the event `CUSTOMER_EXPORTED`. Fails with `BAD_USER_INPUT` above 1,000 records, 10,000 events or 2 MiB: the command `kyc-gateway customer export` has no limit. Needs the scopes `kyc:read`, `kyc:pii`, `audit:read` and `kyc:hold`. Null if it fails.",
    args: {
      customerId: t.arg.string({ required: true, description: "Your own identifier of the customer." }),
    },
    resolve: (_root, { customerId }, ctx) => exportWholeCustomer(ctx, { customerId }),
  }),
);
