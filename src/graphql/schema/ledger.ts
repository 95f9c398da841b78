import { getCheckpoint } from "../../ledger/get-checkpoint.ts";
import { proveEvent } from "../../ledger/prove-event.ts";
import { CHECKPOINT_COST, PROOF_COST } from "../documents/cost.ts";
import { AuditEventType } from "./audit.ts";
import { builder } from "./builder.ts";

builder.objectField(AuditEventType, "proof", (t) =>
  t.string({
    extensions: { cost: PROOF_COST },
    description:
      "The proof that the event is in your account's log, with a signed checkpoint of now and the event's canonical text (c2sp.org/tlog-proof). It can be verified without the gateway. For an event without a position it waits up to two seconds, and fails with `UNAVAILABLE` if the event has none by then.",
    resolve: (event, _args, ctx) => proveEvent(ctx, event),
  }),
);

builder.queryField("auditCheckpoint", (t) =>
  t.string({
    extensions: { cost: CHECKPOINT_COST },
    description:
      "The signed head of your account's log: its name, how many events it has, and the root of their tree (c2sp.org/tlog-checkpoint). Who keeps it can find out later if the log was rewritten. Needs the scope `audit:read`.",
    resolve: (_root, _args, ctx) => getCheckpoint(ctx),
  }),
);
