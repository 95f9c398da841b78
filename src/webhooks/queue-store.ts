import { type SQL, sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { NOTICES, wordsOf } from "../vocabulary.ts";

const given = sql.placeholder;

/**
 * How many earlier events of a record are looked at for its previous change. With audited reads, any number of them can lie
 * between, and one statement looks for the previous changes of 200 events within the time limit of a statement.
 */
const MOST_EARLIER = 1000;

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
 * `kyc_id`, `type`, and as `previous` the position of the one of the same record before it, if it is among its `MOST_EARLIER`
 * last events. All in this order: of two of one record, the later one has both the higher sequence and the higher position.
 */
export const changesBetween: SQL = sql`(
  select entry.position, event.kyc_ids[1] as kyc_id, 'kyc.' || coalesce(event.other_action, event.action::text) as type,
    case when event.action <> 'created' then (
      select before.position from (
          select sequence from audit_event_records
          where account_id = event.account_id and kyc_id = event.kyc_ids[1] and sequence < event.sequence
          order by sequence desc limit ${sql.raw(String(MOST_EARLIER))}
        ) as about
        join audit_events earlier on earlier.account_id = event.account_id and earlier.sequence = about.sequence
        join ledger_entries before on before.account_id = event.account_id and before.sequence = about.sequence
      where ${isDelivered("earlier")}
      order by about.sequence desc limit 1
    ) end as previous
  from ledger_entries entry
    join audit_events event on event.account_id = entry.account_id and event.sequence = entry.sequence
  where entry.account_id = ${given("accountId")} and entry.position >= ${given("from")}::bigint
    and entry.position < ${given("to")}::bigint and ${isDelivered("event")}
)`;

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
