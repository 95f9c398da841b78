import { sql } from "drizzle-orm";
import { epochMillis } from "../db/schema.ts";
import { webhookDeliveries } from "../db/webhook-schema.ts";
import { boundConditions } from "../paging/bound-conditions.ts";
import type { Bounds } from "../paging/list.ts";
import { createListStore } from "../paging/list-store.ts";
import type { DeliveryState, WebhookEventType } from "./event-types.ts";

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

/** Selects deliveries to a webhook of an account. */
export interface DeliverySelection extends Bounds<number> {
  endpointId: string;
  state?: DeliveryState;
}

const { position, state, nextAttemptAt } = webhookDeliveries;

const columns = {
  position: sql`${position}::float8`.as("number"),
  kycId: webhookDeliveries.kycId,
  eventType: webhookDeliveries.eventType,
  state,
  attempts: webhookDeliveries.attempts,
  nextAttemptAt: sql`case when ${state} = 'pending' then ${epochMillis(nextAttemptAt)} end`.as("next_millis"),
  lastAttemptAt: epochMillis(webhookDeliveries.lastAttemptAt).as("last_millis"),
  lastStatus: webhookDeliveries.lastStatus,
  lastResult: webhookDeliveries.lastResult,
} satisfies Record<keyof WebhookDelivery, unknown>;
const FIELDS = Object.keys(columns);

/** The deliveries to a webhook, newest first. */
export const deliveryList = createListStore<DeliverySelection, WebhookDelivery>({
  columns,
  toRow: (values) =>
    Object.fromEntries(FIELDS.map((field, index) => [field, values[index]])) as unknown as WebhookDelivery,
  from: () => sql`${webhookDeliveries}`,
  accountId: () => webhookDeliveries.accountId,
  key: () => [position],
  conditions: {
    endpointId: (source) => sql`${webhookDeliveries.endpointId} = ${source("endpointId")}`,
    state: (source) => sql`${state} = ${source("state")}`,
    ...boundConditions(position, "bigint"),
  },
  bind: (name, value) => ({ [name]: String(value) }),
  compare: (a, b) => a.position - b.position,
});
