import type { AuditEvent } from "../../audit/event.ts";
import type { OperationContext } from "../../context.ts";
import { getCheckpoint } from "../../ledger/get-checkpoint.ts";
import { type EventProof, proveEvent } from "../../ledger/prove-event.ts";
import { CHECKPOINT_COST, PROOF_COST } from "../documents/field-costs.ts";
import { AuditEventType } from "./audit.ts";
import { builder } from "./builder.ts";

/** For each request: proofs, by sequence, of events that had no position when they were read. */
const provedLater = new WeakMap<OperationContext, Map<number, Promise<EventProof>>>();

builder.objectField(AuditEventType, "position", (t) =>
  t.int({
    nullable: true,
    description:
      "The event's position in your account's log: 0, 1, 2 … without a gap, in an order that never changes. Null for a moment, until the event has one; an answer with the event's `proof` has the position that is proved.",
    resolve: (event, _args, ctx) => event.position ?? positionOfProof(ctx, event),
  }),
);

async function positionOfProof(ctx: OperationContext, { sequence }: AuditEvent): Promise<number | null> {
  // The resolvers of all fields of an event are called in one turn. After it, `provedLater` is complete.
  await null;
  // If there is no proof, its own field says why.
  const proof = await provedLater
    .get(ctx)
    ?.get(sequence)
    ?.catch(() => null);
  return proof?.position ?? null;
}

builder.objectField(AuditEventType, "proof", (t) =>
  t.string({
    extensions: { cost: PROOF_COST },
    description:
      "The proof that the event is in your account's log, with a current signed checkpoint and the event's canonical text (c2sp.org/tlog-proof). It can be verified without the gateway. For an event without a position it waits up to two seconds, and fails with `UNAVAILABLE` if the event has none by then.",
    resolve: async (event, _args, ctx) => {
      const proving = proveEvent(ctx, event);
      if (event.position === null) {
        const proofs = provedLater.get(ctx) ?? new Map<number, Promise<EventProof>>();
        provedLater.set(ctx, proofs.set(event.sequence, proving));
      }
      return (await proving).text;
    },
  }),
);

builder.queryField("auditCheckpoint", (t) =>
  t.string({
    extensions: { cost: CHECKPOINT_COST },
    description:
      "The signed head of your account's log: its name, how many events it has, and the root of their tree (c2sp.org/tlog-checkpoint). Clients that keep it can find out later if the log was rewritten. Needs the scope `audit:read`.",
    resolve: (_root, _args, ctx) => getCheckpoint(ctx),
  }),
);
