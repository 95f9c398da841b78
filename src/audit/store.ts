import { type SQL, sql } from "drizzle-orm";
import { toTimestamptz } from "../db/schema.ts";
import type { NewAuditEvent } from "./event.ts";

// Record ids and field names contain no comma, and PostgreSQL flattens nested arrays in unnest.
const listed = (column: string) => `string_to_array(${column}, ',')`;

/** The expression for each column of an event, from the lists of texts that a statement gets. */
const COLUMNS = {
  accountId: "account_id",
  at: "at::timestamptz",
  tokenId: "token_id",
  tokenName: "token_name",
  surface: "surface::surface",
  requestId: "request_id",
  action: "action::audit_action",
  kycIds: listed("kyc_ids"),
  changedFields: listed("changed_fields"),
  statusBefore: "status_before::verification_status",
  statusAfter: "status_after::verification_status",
  reason: "reason",
} as const satisfies Record<keyof NewAuditEvent, string>;
const FIELDS = Object.keys(COLUMNS) as (keyof typeof COLUMNS)[];

const columnOf = (field: keyof typeof COLUMNS) =>
  field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const bindingOf = (field: keyof typeof COLUMNS) => `event.${field}`;

function writing(condition: SQL): SQL {
  const names = sql.raw(FIELDS.map(columnOf).join(", "));
  const lists = sql.join(
    FIELDS.map((field) => sql`${sql.placeholder(bindingOf(field))}::text[]`),
    sql`, `,
  );
  return sql`
    event as (
      insert into audit_events (${names}) select ${sql.raw(Object.values(COLUMNS).join(", "))}
      from unnest(${lists}) as new(${names}) ${condition}
      returning account_id, sequence, kyc_ids
    ),
    concerned as (
      insert into audit_event_records (account_id, kyc_id, sequence)
      select account_id, unnest(kyc_ids), sequence from event
    )`;
}

/**
 * What goes before a statement, after its `with`, so that the events that `eventValues` binds are written together
 * with what the statement does, or neither.
 */
export const writingEvents: SQL = writing(sql.empty());

/** As `writingEvents`; of events that speak of one record each, those about the records that `ids` selects. */
export const writingEventsAbout = (ids: SQL): SQL => writing(sql`where kyc_ids in (${ids})`);

/** The values of the events for a statement that begins with `writingEvents`. */
export function eventValues(events: readonly NewAuditEvent[]): Record<string, (string | null)[]> {
  const values: Record<string, (string | null)[]> = {};
  for (const field of FIELDS) values[bindingOf(field)] = events.map((event) => textOf(event, field));
  return values;
}

function textOf(event: NewAuditEvent, field: keyof typeof COLUMNS): string | null {
  if (field === "at") return toTimestamptz(event.at);
  const value = event[field];
  return typeof value === "object" && value !== null ? value.join(",") : value;
}
