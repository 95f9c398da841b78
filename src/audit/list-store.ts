import { type SQL, sql } from "drizzle-orm";
import { isRecordAction } from "../administration/stored-words.ts";
import type { Executor } from "../db/client.ts";
import { auditEventCustomers, ledgerEntries } from "../db/ledger-schema.ts";
import { auditEventRecords, auditEvents, epochMillis, toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import type { Bounds } from "../paging/list.ts";
import { createListStore, type ListSource, type Source } from "../paging/list-store.ts";
import type { AuditAction, Surface, VerificationStatus } from "../vocabulary.ts";
import type { AuditEvent } from "./event.ts";

/** Selects events of an account. Times are epoch milliseconds, positions are sequences. */
export interface AuditSelection extends Bounds<number> {
  kycId?: string;
  customerDigest?: Buffer;
  tokenId?: string;
  /** The name of who signed in. */
  actorName?: string;
  action?: AuditAction;
  statusAfter?: VerificationStatus;
  /** Included. */
  from?: number;
  /** Excluded. */
  to?: number;
}

const columns = {
  position: sql<number | null>`(
    select ${ledgerEntries.position}::float8 from ${ledgerEntries}
    where ${ledgerEntries.accountId} = ${sql.placeholder("accountId")} and ${ledgerEntries.sequence} = ${auditEvents.sequence}
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

// Events of one record or customer are a range of another table's index, so the bounds must be on that table's column.
const tableOf = ({ kycId, customerDigest }: AuditSelection) => {
  if (kycId !== undefined) return auditEventRecords;
  return customerDigest === undefined ? auditEvents : auditEventCustomers;
};

/**
 * Whether the selection is a span of time alone, whose events are in the order of their times. Clocks and sequences can
 * differ, so in the order of the sequences each page would have to sort the events of the whole span.
 */
export function isSpan({ from, to, ...others }: AuditSelection): boolean {
  if (from === undefined && to === undefined) return false;
  const { kycId, customerDigest, tokenId, actorName, action, statusAfter } = others;
  return [kycId, customerDigest, tokenId, actorName, action, statusAfter].every((one) => one === undefined);
}

const { accountId, sequence } = auditEventCustomers;

// The time of the event at the bound is read here: in milliseconds it would not be exact.
const timeAt = (bound: SQL) => sql`(
    select cursor.at from ${auditEvents} as cursor
    where cursor.account_id = ${sql.placeholder("accountId")} and cursor.sequence = ${bound}
  )`;

const compared =
  (operator: "<" | ">" | "<=" | ">=", name: keyof Bounds<number>) =>
  (source: Source, selection: AuditSelection) => {
    const bound = sql`${source(name)}::bigint`;
    return isSpan(selection)
      ? sql`(${auditEvents.at}, ${auditEvents.sequence}) ${sql.raw(operator)} (${timeAt(bound)}, ${bound})`
      : sql`${tableOf(selection).sequence} ${sql.raw(operator)} ${bound}`;
  };

const isOfCustomer = (source: Source) =>
  sql`${auditEventCustomers.customerDigest} = decode(${source("customerDigest")}, 'hex')`;

const conditions: ListSource<AuditSelection, AuditEvent>["conditions"] = {
  kycId: (source) => sql`${auditEventRecords.kycId} = ${source("kycId")}`,
  customerDigest: (source, { kycId }) =>
    kycId === undefined
      ? isOfCustomer(source)
      : sql`exists (
          select from ${auditEventCustomers}
          where ${accountId} = ${sql.placeholder("accountId")} and ${sequence} = ${auditEvents.sequence} and ${isOfCustomer(source)}
        )`,
  tokenId: (source) => sql`${auditEvents.tokenId} = ${source("tokenId")}`,
  actorName: (source) => sql`${auditEvents.actorName} = ${source("actorName")}`,
  action: (source, { action }) =>
    isRecordAction(action as AuditAction)
      ? sql`${auditEvents.action} = ${source("action")}::audit_action and ${auditEvents.otherAction} is null`
      : sql`${auditEvents.otherAction} = ${source("action")}`,
  statusAfter: (source) => sql`${auditEvents.statusAfter} = ${source("statusAfter")}::verification_status`,
  from: (source) => sql`${auditEvents.at} >= ${source("from")}::timestamptz`,
  to: (source) => sql`${auditEvents.at} < ${source("to")}::timestamptz`,
  newerThan: compared(">", "newerThan"),
  olderThan: compared("<", "olderThan"),
  fromHereNewer: compared(">=", "fromHereNewer"),
  fromHereOlder: compared("<=", "fromHereOlder"),
};

function textOf(name: keyof AuditSelection, value: unknown): string {
  if (Buffer.isBuffer(value)) return value.toString("hex");
  return name === "from" || name === "to" ? toTimestamptz(value as number) : String(value);
}

/** The events of an account, newest first. Each page is one range of one index. */
export const auditList = createListStore<AuditSelection, AuditEvent>({
  columns,
  toRow: (values) =>
    Object.fromEntries(FIELDS.map((field, index) => [field, values[index]])) as unknown as AuditEvent,
  from: (selection) => {
    const table = tableOf(selection);
    return table === auditEvents
      ? sql`${auditEvents}`
      : sql`${table} join ${auditEvents}
          on ${auditEvents.accountId} = ${sql.placeholder("accountId")} and ${auditEvents.sequence} = ${table.sequence}`;
  },
  accountId: (selection) => tableOf(selection).accountId,
  key: (selection) =>
    isSpan(selection) ? [auditEvents.at, auditEvents.sequence] : [tableOf(selection).sequence],
  conditions,
  variant: ({ action }) => (action === undefined || isRecordAction(action) ? "" : "administration"),
  bind: (name, value) => ({ [name]: textOf(name, value) }),
  compare: (a, b, selection) => (isSpan(selection) ? a.at - b.at : 0) || a.sequence - b.sequence,
});

const selectOne = statement(
  () => sql`
    select from audit_events
    where account_id = ${sql.placeholder("accountId")} and sequence = ${sql.placeholder("sequence")}::bigint`,
  () => true,
);

/** Whether the account has the event with this sequence. */
export async function hasEvent(db: Executor, accountId: string, sequence: number): Promise<boolean> {
  return (await selectOne(db, { accountId, sequence: String(sequence) })).length > 0;
}
