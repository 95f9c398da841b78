import { sql } from "drizzle-orm";
import { z } from "zod";
import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { type Bounds, openList, type PagedList } from "../paging/list.ts";
import type { PageSlice } from "../paging/list-store.ts";
import { pageInput } from "../paging/page-input.ts";
import { parseInput, type Raw } from "../parse-input.ts";
import { wordsOf } from "../vocabulary.ts";
import { DELIVERY_STATES, type DeliveryState, type WebhookEventType } from "./event-types.ts";

const given = sql.placeholder;

/** An event that was delivered to a webhook, or is to be. Times are epoch milliseconds. */
export interface WebhookDelivery {
  position: number;
  kycId: string;
  eventType: WebhookEventType;
  state: DeliveryState;
  attempts: number;
  /** Null: it was delivered or given up. */
  nextAttemptAt: number | null;
  lastAttemptAt: number | null;
  lastStatus: number | null;
  lastResult: string | null;
}

interface Selection extends Bounds<number> {
  state?: DeliveryState | undefined;
}

const FAR = String(Number.MAX_SAFE_INTEGER);
const matching = sql`
  from webhook_deliveries
  where account_id = ${given("accountId")} and endpoint_id = ${given("id")}
    and position >= ${given("from")}::bigint and position <= ${given("to")}::bigint
    and (${given("state")}::text is null or state = ${given("state")}::text)`;
const page = (order: "asc" | "desc") =>
  statement(
    () => sql`
      select position::float8, kyc_id, event_type, state, attempts,
        case when state = 'pending' then round(date_part('epoch', next_attempt_at) * 1000) end,
        round(date_part('epoch', last_attempt_at) * 1000), last_status, last_result
      ${matching} order by webhook_deliveries.position ${sql.raw(order)} limit ${given("limit")}::int`,
    ([position, kycId, eventType, state, attempts, nextAttemptAt, ...last]): WebhookDelivery => ({
      ...{ position, kycId, eventType, state, attempts, nextAttemptAt },
      ...{ lastAttemptAt: last[0], lastStatus: last[1], lastResult: last[2] },
    }),
  );
const selectNewest = page("desc");
const selectOldest = page("asc");
const countAll = statement(
  () => sql`select count(*)::float8 ${matching}`,
  ([count]: [number]) => count,
);

/** The bounds of a selection as positions, both included. */
function rangeOf({ newerThan, olderThan, fromHereNewer, fromHereOlder, state }: Selection) {
  const lowest = Math.max(newerThan === undefined ? 0 : newerThan + 1, fromHereNewer ?? 0);
  const highs = [olderThan === undefined ? undefined : olderThan - 1, fromHereOlder];
  const highest = Math.min(...highs.map((value) => value ?? Number.MAX_SAFE_INTEGER));
  return {
    from: String(lowest),
    to: highest === Number.MAX_SAFE_INTEGER ? FAR : String(highest),
    state: state ?? null,
  };
}

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
  db: Executor,
  accountId: string,
  id: string,
  input: ListDeliveriesInput,
): PagedList<WebhookDelivery> {
  const { first, last, after, before, filter } = parseInput(listInput, input);
  const positionOf = (text: string | null | undefined) =>
    text == null ? undefined : (fromCursor(text) as number);
  return openList<WebhookDelivery, number, Selection>(
    {
      select: (selection, { from, limit }: PageSlice) =>
        (from === "newest" ? selectNewest : selectOldest)(db, {
          accountId,
          id,
          ...rangeOf(selection),
          limit,
        }),
      count: async (selection) => (await countAll(db, { accountId, id, ...rangeOf(selection) }))[0] ?? 0,
      positionOf: ({ position }) => position,
      compare: (a, b) => a - b,
      cursorOf: toCursor,
    },
    {
      filtered: filter?.state == null ? {} : { state: filter.state },
      ...{ first, last, after: positionOf(after), before: positionOf(before) },
    },
  );
}
