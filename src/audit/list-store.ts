import { sql } from "drizzle-orm";
import { ledgerEntries } from "../db/ledger-schema.ts";
import { auditEventRecords, auditEvents, epochMillis, toTimestamptz } from "../db/schema.ts";
import type { Bounds } from "../paging/list.ts";
import { createListStore, type ListSource, type Source } from "../paging/list-store.ts";
import type { AuditAction, Surface } from "../vocabulary.ts";
import type { AuditEvent } from "./event.ts";

/** Which events of an account a statement is about. Times are epoch milliseconds, places are sequences. */
export interface AuditSelection extends Bounds<number> {
  kycId?: string;
  tokenId?: string;
  action?: AuditAction;
  /** Included. */
  from?: number;
  /** Excluded. */
  to?: number;
}

const columns = {
  position: sql<number | null>`(
    select ${ledgerEntries.position}::float8 from ${ledgerEntries}
    where ${ledgerEntries.accountId} = ${auditEvents.accountId} and ${ledgerEntries.sequence} = ${auditEvents.sequence}
  )`.as("log_position"),
  sequence: sql<number>`${auditEvents.sequence}::float8`.as("number"),
  at: epochMillis(auditEvents.at).as("at_millis"),
  tokenId: auditEvents.tokenId,
  tokenName: auditEvents.tokenName,
  actorName: auditEvents.actorName,
  surface: sql<Surface>`coalesce(${auditEvents.otherSurface}, ${auditEvents.surface}::text)`.as(
    "surface_word",
  ),
  requestId: auditEvents.requestId,
  action: sql<AuditAction>`coalesce(${auditEvents.otherAction}, ${auditEvents.action}::text)`.as(
    "action_word",
  ),
  subject: auditEvents.subject,
  kycIds: auditEvents.kycIds,
  changedFields: auditEvents.changedFields,
  statusBefore: auditEvents.statusBefore,
  statusAfter: auditEvents.statusAfter,
  documentTypeAfter: auditEvents.documentTypeAfter,
  versionAfter: auditEvents.versionAfter,
  reason: auditEvents.reason,
} satisfies Record<keyof AuditEvent, unknown>;
const FIELDS = Object.keys(columns) as (keyof AuditEvent)[];

// Events of one record are a range of another index, so the bounds must be on that table's column.
const tableOf = ({ kycId }: AuditSelection) => (kycId === undefined ? auditEvents : auditEventRecords);

const stands =
  (operator: "<" | ">" | "<=" | ">=", name: keyof Bounds<number>) =>
  (source: Source, selection: AuditSelection) =>
    sql`${tableOf(selection).sequence} ${sql.raw(operator)} ${source(name)}::bigint`;

const conditions: ListSource<AuditSelection, AuditEvent>["conditions"] = {
  kycId: (source) => sql`${auditEventRecords.kycId} = ${source("kycId")}`,
  tokenId: (source) => sql`${auditEvents.tokenId} = ${source("tokenId")}`,
  action: (source) => sql`${auditEvents.action} = ${source("action")}::audit_action`,
  from: (source) => sql`${auditEvents.at} >= ${source("from")}::timestamptz`,
  to: (source) => sql`${auditEvents.at} < ${source("to")}::timestamptz`,
  newerThan: stands(">", "newerThan"),
  olderThan: stands("<", "olderThan"),
  fromHereNewer: stands(">=", "fromHereNewer"),
  fromHereOlder: stands("<=", "fromHereOlder"),
};

/**
 * The events of an account, newest first. Each page is one range of one index, but for a span of time alone: its
 * events are sorted, since clocks and sequences can differ by the length of a transaction.
 */
export const auditList = createListStore<AuditSelection, AuditEvent>({
  columns,
  toRow: (values) =>
    Object.fromEntries(FIELDS.map((field, index) => [field, values[index]])) as unknown as AuditEvent,
  from: ({ kycId }) =>
    kycId === undefined
      ? sql`${auditEvents}`
      : sql`${auditEventRecords} join ${auditEvents}
          on ${auditEvents.accountId} = ${auditEventRecords.accountId}
          and ${auditEvents.sequence} = ${auditEventRecords.sequence}`,
  accountId: (selection) => tableOf(selection).accountId,
  key: (selection) => [tableOf(selection).sequence],
  conditions,
  bind: (name, value) => ({
    [name]: name === "from" || name === "to" ? toTimestamptz(value as number) : String(value),
  }),
  compare: (a, b) => a.sequence - b.sequence,
});
