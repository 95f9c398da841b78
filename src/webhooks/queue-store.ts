import { type SQL, sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { NOTICES, wordsOf } from "../vocabulary.ts";

const given = sql.placeholder;

const NOTICE_LIST = sql.raw(
  wordsOf(NOTICES)
    .map((word) => `'${word}'`)
    .join(", "),
);

/** Whether an event is a change of a record or a notice about one. A notice is stored as another action. */
const isDelivered = (event: "event" | "earlier") => {
  const column = (name: string) => sql.raw(`${event}.${name}`);
  return sql`(${column("other_action")} is null or ${column("other_action")} in (${NOTICE_LIST})) and ${column("action")} <> 'read'`;
};

/**
 * The changes of records, and the notices about them, at the positions `from` to before `to` of the account's log: `position`,
 * `kyc_id`, `type`, and as `previous` the position of the one of the same record before it. That is the last one by sequence:
 * of two of one record, the later one has both the higher sequence and the higher position. Each is one look-up in the index
 * `audit_events_by_record`, however many audited reads lie between.
 */
export const changesBetween: SQL = sql`(
  select entry.position, event.kyc_ids[1] as kyc_id, 'kyc.' || coalesce(event.other_action, event.action::text) as type,
    case when event.action <> 'created' then (
      select before.position from (
          select account_id, sequence from audit_events earlier
          where account_id = event.account_id and kyc_ids[1] = event.kyc_ids[1] and sequence < event.sequence
            and ${isDelivered("earlier")}
          order by earlier.sequence desc limit 1
        ) as about
        join ledger_entries before on before.account_id = about.account_id and before.sequence = about.sequence
    ) end as previous
  from ledger_entries entry
    join audit_events event on event.account_id = entry.account_id and event.sequence = entry.sequence
  where entry.account_id = ${given("accountId")} and entry.position >= ${given("from")}::bigint
    and entry.position < ${given("to")}::bigint and ${isDelivered("event")}
)`;

/** Deliveries of one endpoint that wait, at most. At this bound its cursor waits, too, and nothing is sent again. */
export const MOST_WAITING = 10_000;

const countPending = statement(
  () => sql`
    select count(*)::float8 from (
      select from webhook_deliveries where account_id = ${given("accountId")} and endpoint_id = ${given("id")}
        and state = 'pending' limit ${given("most")}::int
    ) as waiting`,
  ([count]: [number]) => count,
);
/** How many deliveries of the endpoint wait; counted up to `most`. */
export async function countWaiting(
  db: Executor,
  accountId: string,
  id: string,
  most: number,
): Promise<number> {
  return (await countPending(db, { accountId, id, most }))[0] ?? 0;
}

const queueAgain = statement(
  () => sql`
    with queued as (
      insert into webhook_deliveries as d (account_id, endpoint_id, position, kyc_id, event_type, previous_position,
        state, next_attempt_at, queued_at)
      select e.account_id, e.id, change.position, change.kyc_id, change.type, change.previous, 'pending',
        clock_timestamp(), clock_timestamp()
      from webhook_endpoints e, ${changesBetween} as change
      where e.account_id = ${given("accountId")} and e.id = ${given("id")} and change.type = any(e.event_types)
        and change.position < e.position and (not ${given("onlyFailed")}::boolean or exists (
          select from webhook_deliveries failed where failed.account_id = e.account_id and failed.endpoint_id = e.id
            and failed.position = change.position and failed.state = 'failed'
        ))
      on conflict (account_id, endpoint_id, position) do update set state = 'pending', attempts = 0,
        first_attempt_at = null, next_attempt_at = clock_timestamp(), queued_at = clock_timestamp()
      returning 1
    ),
    woken as (
      update webhook_endpoints set wake_at = clock_timestamp()
      where account_id = ${given("accountId")} and id = ${given("id")}
    )
    select count(*)::float8 from queued`,
  ([count]: [number]) => count,
);
/** Queues the changes at these positions again, as far as the cursor has passed them. Returns how many those are. */
export async function queueRange(
  tx: Executor,
  endpoint: { accountId: string; id: string },
  { from, to, onlyFailed }: { from: number; to: number; onlyFailed: boolean },
): Promise<number> {
  const { accountId, id } = endpoint;
  return (await queueAgain(tx, { accountId, id, from: String(from), to: String(to), onlyFailed }))[0] ?? 0;
}
