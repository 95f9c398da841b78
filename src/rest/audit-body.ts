import { toEventId } from "../audit/cursor.ts";
import type { AuditEvent } from "../audit/event.ts";
import { FIELDS } from "../kyc/fields.ts";
import { toCsvRow } from "../lib/csv.ts";
import { toSeconds } from "./kyc-body.ts";

/** An event as REST shows it, with its time in whole Unix seconds. */
export function renderEvent(event: AuditEvent) {
  return {
    id: toEventId(event),
    position: event.position,
    at: toSeconds(event.at),
    action: event.action,
    actor: event.actorName ?? event.tokenName,
    token_id: event.tokenId,
    token_name: event.tokenName,
    surface: event.surface,
    request_id: event.requestId,
    subject: event.subject,
    kyc_ids: event.kycIds,
    changed_fields: event.changedFields.map(toWireField),
    status_before: event.statusBefore,
    status_after: event.statusAfter,
    document_type_after: event.documentTypeAfter,
    version_after: event.versionAfter,
    reason: event.reason,
  };
}

export type EventBody = ReturnType<typeof renderEvent>;

/** The name of a record's field on REST, if it has one there. */
function toWireField(name: string): string {
  return (name in FIELDS && FIELDS[name as keyof typeof FIELDS].rest) || name;
}

/** The columns of the CSV, in their order. */
const COLUMNS = [
  ...[
    "id",
    "position",
    "at",
    "action",
    "actor",
    "token_id",
    "token_name",
    "surface",
    "request_id",
    "subject",
  ],
  ...["kyc_ids", "changed_fields", "status_before", "status_after", "document_type_after", "version_after"],
  "reason",
] as (keyof EventBody)[];

/** The events as CSV with a header. Times are in ISO 8601, and lists have spaces between their items. */
export function renderEventsAsCsv(events: readonly AuditEvent[]): string {
  const rows = events.map((event) => {
    const body = { ...renderEvent(event), at: toIso(event.at) };
    return COLUMNS.map((name) => {
      const value = body[name];
      return typeof value === "object" && value !== null ? value.join(" ") : value;
    });
  });
  return [COLUMNS, ...rows].map(toCsvRow).join("");
}

/** Empty for a time that no calendar has. */
function toIso(millis: number): string {
  return Number.isFinite(millis) ? new Date(millis).toISOString() : "";
}
