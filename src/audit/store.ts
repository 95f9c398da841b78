import { type SQL, sql } from "drizzle-orm";
import { type StoredWords, toStoredWords } from "../administration/stored-words.ts";
import type { Executor } from "../db/client.ts";
import { toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import { toSnakeCase } from "../lib/snake-case.ts";
import type { NewAuditEvent } from "./event.ts";

// Record ids and field names contain no comma, and PostgreSQL flattens nested arrays in unnest.
const listed = (column: string) => `string_to_array(${column}, ',')`;

/** An event, with the words that its columns can have. */
type StoredEvent = Omit<NewAuditEvent, "customerDigests" | keyof StoredWords> & StoredWords;

/** The expression for each column of an event, from the lists of texts that a statement gets. */
const COLUMNS = {
  accountId: "account_id",
  at: "at::timestamptz",
  tokenId: "token_id",
  tokenName: "token_name",
  actorName: "actor_name",
  surface: "surface::surface",
  otherSurface: "other_surface",
  requestId: "request_id",
  action: "action::audit_action",
  otherAction: "other_action",
  subject: "subject",
  kycIds: listed("kyc_ids"),
  changedFields: listed("changed_fields"),
  statusBefore: "status_before::verification_status",
  statusAfter: "status_after::verification_status",
  documentTypeAfter: "document_type_after::document_type",
  versionAfter: "version_after::int",
  reason: "reason",
} as const satisfies Record<keyof StoredEvent, string>;
const FIELDS = Object.keys(COLUMNS) as (keyof StoredEvent)[];

const bindingOf = (field: keyof StoredEvent) => `event.${field}`;
const texts = (name: string) => sql`${sql.placeholder(name)}::text[]`;

function writing(condition: SQL): SQL {
  const names = sql.raw(FIELDS.map(toSnakeCase).join(", "));
  const lists = sql.join(
    FIELDS.map((field) => texts(bindingOf(field))),
    sql`, `,
  );
  return sql`
    event as (
      insert into audit_events (${names}, has_customers) select ${sql.raw(Object.values(COLUMNS).join(", "))}, true
      from unnest(${lists}) as new(${names}) ${condition}
      returning account_id, sequence, kyc_ids
    ),
    concerned as (
      insert into audit_event_records (account_id, kyc_id, sequence)
      select account_id, unnest(kyc_ids), sequence from event
    ),
    customer as (
      insert into audit_event_customers (account_id, customer_digest, sequence)
      select distinct account_id, decode(digest, 'hex'), sequence
      from (select account_id, unnest(kyc_ids) as kyc_id, sequence from event) as about
      join unnest(${texts("customer.kycIds")}, ${texts("customer.digests")}) as new(kyc_id, digest) using (kyc_id)
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
  const stored = events.map((event): StoredEvent => ({ ...event, ...toStoredWords(event) }));
  for (const field of FIELDS) values[bindingOf(field)] = stored.map((event) => textOf(event, field));
  // A record's customer never changes: each record needs it once.
  const digests = new Map<string, string>();
  for (const { kycIds, customerDigests } of events) {
    for (const [index, id] of kycIds.entries())
      digests.set(id, (customerDigests[index] as Buffer).toString("hex"));
  }
  values["customer.kycIds"] = [...digests.keys()];
  values["customer.digests"] = [...digests.values()];
  return values;
}

function textOf(event: StoredEvent, field: keyof StoredEvent): string | null {
  if (field === "at") return toTimestamptz(event.at);
  const value = event[field];
  if (typeof value === "number") return String(value);
  return typeof value === "object" && value !== null ? value.join(",") : value;
}

// The limits keep the planner from making joins of these. While a table has no statistics, a join can read all events of the
// account for each record.
const selectCreatedBy = statement(
  () => sql`
    select id from unnest(${sql.placeholder("kycIds")}::text[]) as record (id) where (
      select true from audit_event_records about
      where about.account_id = ${sql.placeholder("accountId")} and about.kyc_id = record.id collate "C" and (
        select event.action = 'created' and event.request_id = ${sql.placeholder("requestId")} from audit_events event
        where event.account_id = ${sql.placeholder("accountId")} and event.sequence = about.sequence limit 1)
      limit 1)`,
  ([id]: [string]) => id,
);

/** Which of these records the request with this id has created. */
export function findCreatedBy(
  db: Executor,
  accountId: string,
  requestId: string,
  kycIds: string[],
): Promise<string[]> {
  return selectCreatedBy(db, { accountId, requestId, kycIds });
}
