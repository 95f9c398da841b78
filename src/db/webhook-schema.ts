import { sql } from "drizzle-orm";
import { bigint, boolean, index, integer, pgTable, primaryKey, text } from "drizzle-orm/pg-core";
import { byteText, instant } from "./columns.ts";

/** Receivers of webhooks. Each one is a cursor over the positions of its account's log. */
export const webhookEndpoints = pgTable(
  "webhook_endpoints",
  {
    accountId: byteText("account_id").notNull(),
    id: byteText("id").notNull(),
    url: text("url").notNull(),
    eventTypes: text("event_types").array().notNull(),
    /** Its secrets and its signing key. */
    sealedSecrets: text("sealed_secrets").notNull(),
    /** Until when the latest previous secret signs, too; null if there is none. */
    previousUntil: instant("previous_until"),
    createdAt: instant("created_at").notNull(),
    /** Null: it is enabled. */
    disabledAt: instant("disabled_at"),
    disabledBecause: text("disabled_because"),
    /** The position of the next event that gets a row in `webhook_deliveries` if it is of one of the types. */
    position: bigint("position", { mode: "number" }).notNull(),
    lastSuccessAt: instant("last_success_at"),
    /** When the first attempt after the last success failed; null: the last one did not. */
    failingSince: instant("failing_since"),
    /** The process that delivers to it, until `leaseUntil` by the database's clock. */
    leaseOwner: text("lease_owner"),
    leaseUntil: instant("lease_until"),
    /** At this time a process must look for due deliveries, even if the log has not grown. */
    wakeAt: instant("wake_at").notNull(),
    /** Whether so many deliveries wait that the cursor must wait, too. */
    isFull: boolean("is_full").notNull().default(false),
    /** When a process last got it: the endpoint that has waited longest is next. */
    servedAt: instant("served_at"),
  },
  (table) => [primaryKey({ columns: [table.accountId, table.id] })],
);

/** Deliveries that wait, and the latest ones that were made or given up. */
export const webhookDeliveries = pgTable(
  "webhook_deliveries",
  {
    accountId: byteText("account_id").notNull(),
    endpointId: byteText("endpoint_id").notNull(),
    position: bigint("position", { mode: "number" }).notNull(),
    kycId: byteText("kyc_id").notNull(),
    eventType: text("event_type").notNull(),
    /** Of the change of the same record before this one; null: there is none. */
    previousPosition: bigint("previous_position", { mode: "number" }),
    /** `pending`, `delivered`, or `failed` if it was given up. */
    state: text("state").notNull(),
    attempts: integer("attempts").notNull().default(0),
    nextAttemptAt: instant("next_attempt_at").notNull(),
    queuedAt: instant("queued_at").notNull(),
    firstAttemptAt: instant("first_attempt_at"),
    lastAttemptAt: instant("last_attempt_at"),
    /** The status of the last answer; null: there was none. */
    lastStatus: integer("last_status"),
    /** The last outcome in our own words, without any text of the answer. */
    lastResult: text("last_result"),
  },
  (table) => [
    primaryKey({ columns: [table.accountId, table.endpointId, table.position] }),
    // Whether an earlier change of the same record waits.
    index("webhook_deliveries_by_record")
      .on(table.accountId, table.endpointId, table.kycId, table.position)
      .where(sql`${table.state} = 'pending'`),
    // Finds the deliveries that are due.
    index("webhook_deliveries_by_time")
      .on(table.accountId, table.endpointId, table.nextAttemptAt)
      .where(sql`${table.state} = 'pending'`),
    // Lists by state.
    index("webhook_deliveries_by_state").on(table.accountId, table.endpointId, table.state, table.position),
  ],
);
