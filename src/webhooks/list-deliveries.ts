import { z } from "zod";
import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { Database } from "../db/client.ts";
import { openList, type PagedList } from "../paging/list.ts";
import { pageInput } from "../paging/page-input.ts";
import { parseInput, type Raw } from "../parse-input.ts";
import { wordsOf } from "../vocabulary.ts";
import { type DeliverySelection, deliveryList, type WebhookDelivery } from "./delivery-list-store.ts";
import { DELIVERY_STATES } from "./event-types.ts";

const SHAPE = /^delivery:(0|[1-9]\d{0,15})$/;
const toCursor = ({ position }: Pick<WebhookDelivery, "position">) =>
  Buffer.from(`delivery:${position}`, "latin1").toString("base64url");
function fromCursor(cursor: string): number | null {
  const position = Number(SHAPE.exec(Buffer.from(cursor, "base64url").toString("latin1"))?.[1]);
  return Number.isSafeInteger(position) && toCursor({ position }) === cursor ? position : null;
}

const cursor = z
  .string("must be a cursor")
  .refine((text) => fromCursor(text) !== null, "is not a cursor of this list");
const state = z.enum(wordsOf(DELIVERY_STATES), `must be ${wordsOf(DELIVERY_STATES).join(", ")}`);
const listInput = pageInput(cursor, z.object({ state: state.nullish() }));
export type ListDeliveriesInput = Raw<typeof listInput>;

/**
 * The deliveries to a webhook of the account, newest first: those that wait, those that were given up, and the latest that
 * were delivered. Needs `webhooks:manage`. Fails with BAD_USER_INPUT.
 */
export function listDeliveries(
  ctx: OperationContext,
  id: string,
  input: ListDeliveriesInput,
): PagedList<WebhookDelivery> {
  const { accountId } = requireScope(ctx.viewer, "webhooks:manage");
  return pageDeliveries(ctx.db, accountId, id, input);
}

/** As `listDeliveries`, for an operator. */
export function pageDeliveries(
  db: Database,
  accountId: string,
  id: string,
  input: ListDeliveriesInput,
): PagedList<WebhookDelivery> {
  const { first, last, after, before, filter } = parseInput(listInput, input);
  const positionOf = (text: string | null | undefined) =>
    text == null ? undefined : (fromCursor(text) as number);
  return openList<WebhookDelivery, number, DeliverySelection>(
    {
      select: (selection, slice) => deliveryList.list(db, accountId, selection, slice),
      count: (selection) => deliveryList.count(db, accountId, selection),
      positionOf: ({ position }) => position,
      compare: (a, b) => a - b,
      cursorOf: toCursor,
    },
    {
      filtered: { endpointId: id, ...(filter?.state != null && { state: filter.state }) },
      ...{ first, last, after: positionOf(after), before: positionOf(before) },
    },
  );
}
