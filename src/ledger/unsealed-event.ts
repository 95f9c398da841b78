import { sql } from "drizzle-orm";
import type { AuditEvent } from "../audit/event.ts";

/** An event without a position. */
export interface UnsealedEvent extends Omit<AuditEvent, "position"> {
  accountId: string;
  /** The transaction that wrote it; null if it was written before the upgrade to this release. */
  writtenIn: string | null;
  /** Whether its customers were written with it; null in events of release 0.2. */
  hasCustomers: boolean | null;
}

const FIELDS = [
  "accountId",
  "sequence",
  "at",
  "tokenId",
  "tokenName",
  "actorName",
  "surface",
  "requestId",
  "action",
  "subject",
  "kycIds",
  "changedFields",
  "statusBefore",
  "statusAfter",
  "documentTypeAfter",
  "versionAfter",
  "reason",
  "writtenIn",
  "hasCustomers",
] as const satisfies (keyof UnsealedEvent)[];

/** The columns of `audit_events` that `toEvent` reads. */
export const eventColumns = sql.raw(
  `account_id, sequence::float8, round(date_part('epoch', at) * 1000), token_id, token_name, actor_name,
   coalesce(other_surface, surface::text), request_id, coalesce(other_action, action::text), subject, kyc_ids,
   changed_fields, status_before, status_after, document_type_after, version_after, reason, written_in::text,
   has_customers`,
);
/** The event of these values. */
export function toEvent(values: readonly unknown[]): UnsealedEvent {
  const event: Partial<Record<keyof UnsealedEvent, unknown>> = {};
  for (let index = 0; index < FIELDS.length; index++)
    event[FIELDS[index] as keyof UnsealedEvent] = values[index];
  return event as UnsealedEvent;
}

// As a join, it could be planned as one that reads all entries; a subquery with a limit is one look-up per event.
export const hasNoPosition = sql`(
  select 1 from ledger_entries entry
  where entry.account_id = event.account_id and entry.sequence = event.sequence limit 1
) is null`;
