import { byViewer } from "../audit/by-viewer.ts";
import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { Executor } from "../db/client.ts";
import { badUserInput } from "../errors.ts";
import { findIdempotencyKeyFaults } from "../idempotency/key.ts";
import { toKeyedWrite, writeOnce } from "../idempotency/write-once.ts";
import { findEndpoint, findEndpoints } from "./endpoint-store.ts";
import { type Managing, mintEndpointId, type ShownEndpoint, showEndpoint } from "./manage-endpoints.ts";

/** The scope that everything about webhooks needs. */
const SCOPE = "webhooks:manage";

/** The account's webhooks, oldest first. Needs `webhooks:manage`. */
export async function listWebhooks(ctx: OperationContext): Promise<ShownEndpoint[]> {
  const { accountId } = requireScope(ctx.viewer, SCOPE);
  return (await findEndpoints(ctx.db, accountId)).map((stored) => showEndpoint(ctx.keys, stored));
}

/** The account's webhook with this id; null: there is none. Needs `webhooks:manage`. */
export async function getWebhook(ctx: OperationContext, id: string): Promise<ShownEndpoint | null> {
  const { accountId } = requireScope(ctx.viewer, SCOPE);
  const stored = await findEndpoint(ctx.db, accountId, id);
  return stored ? showEndpoint(ctx.keys, stored) : null;
}

/**
 * Does one act of management in a transaction, as the viewer: `work` gets a new id, for what it creates. Under an
 * idempotency key it is done once. Needs `webhooks:manage`. Fails as `work` does.
 */
export async function manageWebhooks<Input extends object, Result>(
  ctx: OperationContext,
  name: string,
  input: Input,
  work: (tx: Executor, managing: Managing, newId: string) => Promise<Result>,
): Promise<Result> {
  const viewer = requireScope(ctx.viewer, SCOPE);
  const faults = findIdempotencyKeyFaults(ctx.idempotency);
  if (faults.length > 0) throw badUserInput(faults);
  const managing = {
    ...{ accountId: viewer.accountId, by: byViewer(ctx, viewer), keys: ctx.keys },
    networks: ctx.webhookNetworks ?? [],
    now: ctx.now(),
  };
  const id = mintEndpointId();
  const keyed = toKeyedWrite<Result, Input>(ctx, viewer, name, input);
  return writeOnce(ctx, keyed, id, (tx) => work(tx, managing, id));
}
