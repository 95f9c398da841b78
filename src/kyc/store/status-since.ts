import { sql } from "drizzle-orm";
import type { Executor } from "../../db/client.ts";
import { statement } from "../../db/statement.ts";

const given = sql.placeholder;

/** A record of any account. */
export interface RecordKey {
  accountId: string;
  id: string;
}

// Records that others hold are left to a later run. The collation is that of the index `audit_events_by_record`: with the
// one of `kycs.id`, PostgreSQL can't use the index.
const settle = statement(
  () => sql`
    with unsettled as (
      select account_id, id, version from kycs
      where (account_id, id) > (${given("accountId")}, ${given("id")})
        and status_since_version is distinct from version
      order by account_id, id limit ${given("limit")}::int
      for update skip locked
    ),
    known as (
      select unsettled.account_id, unsettled.id, (
        select event.at from audit_events event
        where event.account_id = unsettled.account_id and event.kyc_ids[1] = unsettled.id collate "default"
          and event.action <> 'read' and event.other_action is null
          and event.status_before is distinct from event.status_after
        order by event.sequence desc limit 1
      ) as at
      from unsettled
      -- One that was changed before it could be locked has an event that this statement does not see: a later run finds it.
      join kycs seen on seen.account_id = unsettled.account_id and seen.id = unsettled.id
        and seen.version = unsettled.version
    ),
    settled as (
      update kycs set status_since = coalesce(known.at, kycs.status_since, kycs.updated_at),
        status_since_version = kycs.version
      from known where kycs.account_id = known.account_id and kycs.id = known.id
    )
    select account_id, id from unsettled order by account_id, id`,
  ([accountId, id]: [string, string]): RecordKey => ({ accountId, id }),
);

/**
 * Stores since when records have their status, for up to `limit` records after a key of which it is not known: by the audit
 * trail, otherwise what was known before, otherwise the time of the last change. Returns them in the order of their keys.
 */
export function settleStatusSince(db: Executor, after: RecordKey, limit: number): Promise<RecordKey[]> {
  return settle(db, { ...after, limit });
}
