import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import type { DocumentType, RecordAction, VerificationStatus } from "../vocabulary.ts";

const given = sql.placeholder;

/** A record of an account. */
interface RecordKey {
  accountId: string;
  id: string;
}

/** A creation, change or deletion, and what the record was after it. Null: the event does not say. */
interface Change {
  sequence: number;
  at: number;
  action: RecordAction;
  verificationStatus: VerificationStatus | null;
  documentType: DocumentType | null;
  version: number | null;
}

/** The changes of a record: reads and acts of administration leave it as it is. */
const changes = sql`
  audit_events event where event.account_id = ${given("accountId")} and event.kyc_ids[1] = ${given("id")}
    and event.action <> 'read' and event.other_action is null`;
const until = sql`event.sequence <= ${given("sequence")}::bigint`;

// The times of a record's changes never go back, so the last one in order is the last one in time.
const selectChangeAt = statement(
  () => sql`
    select event.sequence::float8, round(date_part('epoch', event.at) * 1000), action, status_after, document_type_after,
      version_after
    from ${changes} and event.at <= ${given("at")}::timestamptz
    order by event.sequence desc limit 1`,
  ([sequence, at, action, verificationStatus, documentType, version]: [
    number,
    number,
    RecordAction,
    VerificationStatus | null,
    DocumentType | null,
    number | null,
  ]): Change => ({ sequence, at, action, verificationStatus, documentType, version }),
);

/** The last change of the record at this time (epoch milliseconds) or before. It reads the record's later changes. */
export async function findChangeAt(db: Executor, record: RecordKey, at: number): Promise<Change | undefined> {
  return (await selectChangeAt(db, { ...record, at: toTimestamptz(at) }))[0];
}

const selectStatusSince = statement(
  () => sql`
    select round(date_part('epoch', event.at) * 1000)
    from ${changes} and ${until} and status_before is distinct from status_after
    order by event.sequence desc limit 1`,
  ([at]: [number]) => at,
);

/** When the record got the status that it had after this change; null if it had that status before its first event. */
export async function findStatusSince(
  db: Executor,
  record: RecordKey,
  sequence: number,
): Promise<number | null> {
  return (await selectStatusSince(db, { ...record, sequence: String(sequence) }))[0] ?? null;
}

// Each change makes one version and one event. The kind of document stays until an event says that it changed, so it was
// already what the first later event has that says it or ends it, or else the record itself.
const selectOld = statement(
  () => sql`
    select
      (select case when bool_or(action = 'created') then count(*)::int end from ${changes} and ${until}),
      case when later.sequence is null
        then (select document_type from kycs where account_id = ${given("accountId")} and id = ${given("id")})
        when not later.changed then later.document_type_after
      end
    from (values (1)) as one left join (
      select event.sequence, document_type_after, 'documentType' = any(changed_fields) as changed
      from ${changes} and event.sequence > ${given("sequence")}::bigint
        and (document_type_after is not null or 'documentType' = any(changed_fields))
      order by event.sequence limit 1
    ) as later on true`,
  ([version, documentType]: [number | null, DocumentType | null]) => ({ version, documentType }),
);

/** Completes a change from the record's other events and the record itself, if its own event lacks the values. */
export async function findOldChange(
  db: Executor,
  record: RecordKey,
  sequence: number,
): Promise<Pick<Change, "version" | "documentType"> | undefined> {
  return (await selectOld(db, { ...record, sequence: String(sequence) }))[0];
}

const selectOrigin = statement(
  () => sql`
    select round(date_part('epoch', created_at) * 1000), exists (select from ${changes} and action = 'created')
    from (
      select created_at from kycs where account_id = ${given("accountId")} and id = ${given("id")}
      union all
      select created_at from deleted_kycs where account_id = ${given("accountId")} and id = ${given("id")}
    ) as one`,
  ([createdAt, isInTrail]: [number, boolean]) => ({ createdAt, isInTrail }),
);

/** When the record was created, whether it has been deleted or not, and whether the trail has the event. */
export async function findOrigin(
  db: Executor,
  record: RecordKey,
): Promise<{ createdAt: number; isInTrail: boolean } | undefined> {
  return (await selectOrigin(db, { ...record }))[0];
}
