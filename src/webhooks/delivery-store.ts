import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import type { VerificationStatus } from "../vocabulary.ts";
import type { StoredEndpoint } from "./endpoint.ts";
import type { DeliveryState, WebhookEventType } from "./event-types.ts";
import { changesBetween } from "./queue-store.ts";

const given = sql.placeholder;

/** A change that is to be sent now. Times are epoch milliseconds. */
export interface DueDelivery {
  position: number;
  kycId: string;
  eventType: WebhookEventType;
  previousPosition: number | null;
  attempts: number;
  /** Null: there was no attempt yet. */
  firstAttemptAt: number | null;
  at: number;
  statusBefore: VerificationStatus | null;
  statusAfter: VerificationStatus | null;
  versionAfter: number | null;
  /** The endpoint's, as they are now. */
  url: string;
  sealedSecrets: string;
}

/** The rows of the endpoint that the parameters name, called `d`. */
const ofEndpoint = sql`d.account_id = ${given("accountId")} and d.endpoint_id = ${given("id")}`;

// A change is due only if no earlier one of its record waits: that is what keeps the order. The endpoint is read in the same
// statement, so a change of it, as of its URL, holds for the next attempt.
const selectDue = statement(
  () => sql`
    select d.position::float8, d.kyc_id, d.event_type, d.previous_position::float8, d.attempts,
      round(date_part('epoch', d.first_attempt_at) * 1000), round(date_part('epoch', event.at) * 1000),
      event.status_before, event.status_after, event.version_after, e.url, e.sealed_secrets
    from (
      select * from webhook_deliveries d
      where ${ofEndpoint} and d.state = 'pending' and d.next_attempt_at <= clock_timestamp()
        and (d.attempts = 0) = ${given("isFirst")}::boolean
        and d.position <> all(${given("inProgress")}::text[]::bigint[])
        and not exists (
          select from webhook_deliveries earlier
          where earlier.account_id = d.account_id and earlier.endpoint_id = d.endpoint_id
            and earlier.kyc_id = d.kyc_id and earlier.state = 'pending' and earlier.position < d.position
        )
      order by d.position limit ${given("limit")}::int
    ) d
    join webhook_endpoints e on e.account_id = d.account_id and e.id = d.endpoint_id
      and e.lease_owner = ${given("owner")} and e.disabled_at is null
    join ledger_entries entry on entry.account_id = d.account_id and entry.position = d.position
    join audit_events event on event.account_id = entry.account_id and event.sequence = entry.sequence
    order by d.position`,
  ([position, kycId, eventType, previousPosition, attempts, firstAttemptAt, at, ...after]): DueDelivery => ({
    ...{ position, kycId, eventType, previousPosition, attempts, firstAttemptAt, at },
    ...{ statusBefore: after[0], statusAfter: after[1], versionAfter: after[2] },
    ...{ url: after[3], sealedSecrets: after[4] },
  }),
);

/** An endpoint that this process may deliver to. */
export interface LeasedEndpoint extends Pick<StoredEndpoint, "accountId" | "id"> {
  owner: string;
}

/**
 * The deliveries to send to the endpoint now, oldest first: for the first time if `isFirst`, otherwise again. Nothing that is
 * `inProgress`, and of each record one change at most; nothing if the endpoint is disabled or another process has its lease.
 */
export function findDue(
  db: Executor,
  { accountId, id, owner }: LeasedEndpoint,
  { isFirst, inProgress, limit }: { isFirst: boolean; inProgress: readonly number[]; limit: number },
): Promise<DueDelivery[]> {
  return selectDue(db, { accountId, id, owner, isFirst, inProgress: inProgress.map(String), limit });
}

const moveCursor = statement(
  () => sql`
    with moved as (
      update webhook_endpoints set position = ${given("to")}::bigint
      where account_id = ${given("accountId")} and id = ${given("id")} and lease_owner = ${given("owner")}
        and position = ${given("from")}::bigint and disabled_at is null and (
          select count(*) from (
            select from webhook_deliveries d where ${ofEndpoint} and d.state = 'pending' limit ${given("most")}::int
          ) as waiting
        ) < ${given("most")}::int
      returning account_id, id, event_types
    ),
    queued as (
      insert into webhook_deliveries (account_id, endpoint_id, position, kyc_id, event_type, previous_position, state,
        next_attempt_at, queued_at)
      select moved.account_id, moved.id, change.position, change.kyc_id, change.type, change.previous, 'pending',
        clock_timestamp(), clock_timestamp()
      from moved, ${changesBetween} as change where change.type = any(moved.event_types)
      on conflict do nothing
    ),
    forgotten as (
      delete from webhook_deliveries d using moved
      where ${ofEndpoint} and d.state = 'delivered' and d.position < ${given("from")}::bigint - ${given("kept")}::int
    )
    select 1 from moved`,
  () => true,
);

/** How many positions back it is known what was delivered. */
const KEPT = 10_000;

/**
 * Moves the cursor to the position `to`; what it passes is to be delivered if it is of the endpoint's types. False: the
 * endpoint has `most` deliveries that wait, or this process may not deliver to it any more, and nothing was done.
 */
export async function queueUpTo(
  db: Executor,
  { accountId, id, owner }: LeasedEndpoint,
  { from, to, most }: { from: number; to: number; most: number },
): Promise<boolean> {
  const values = { accountId, id, owner, from: String(from), to: String(to), most, kept: KEPT };
  return (await moveCursor(db, values)).length > 0;
}

/** The outcome of an attempt. */
export interface Settled {
  position: number;
  /** Before this one. */
  attempts: number;
  state: DeliveryState;
  status: number | null;
  result: string;
  /** Until the next attempt; 0 if there is none. Milliseconds. */
  delayMs: number;
}

const settleAll = statement(
  () => sql`
    with outcome as (
      select * from unnest(${given("position")}::text[]::bigint[], ${given("attempts")}::text[]::int[],
        ${given("state")}::text[], ${given("status")}::text[]::int[], ${given("result")}::text[],
        ${given("delayMs")}::text[]::float8[]) as given(position, attempts, state, status, result, delay)
    ),
    settled as (
      update webhook_deliveries d set state = outcome.state, attempts = d.attempts + 1,
        first_attempt_at = coalesce(d.first_attempt_at, clock_timestamp()), last_attempt_at = clock_timestamp(),
        last_status = outcome.status, last_result = outcome.result,
        next_attempt_at = clock_timestamp() + make_interval(secs => outcome.delay / 1000)
      from outcome
      where ${ofEndpoint} and d.position = outcome.position and d.state = 'pending' and d.attempts = outcome.attempts
    )
    update webhook_endpoints e set
      last_success_at = case when exists (select from outcome where state = 'delivered') then clock_timestamp()
        else last_success_at end,
      failing_since = case when exists (select from outcome where state = 'delivered') then null
        when exists (select from outcome) then coalesce(failing_since, clock_timestamp()) else failing_since end
    where e.account_id = ${given("accountId")} and e.id = ${given("id")} and exists (select from outcome)`,
);

/** Writes what came of attempts. What somebody has changed meanwhile, as by sending it again, stays as it is. */
export async function settle(
  db: Executor,
  { accountId, id }: LeasedEndpoint,
  outcomes: readonly Settled[],
): Promise<void> {
  const list = (field: keyof Settled) =>
    outcomes.map((outcome) => (outcome[field] === null ? null : String(outcome[field])));
  const fields = ["position", "attempts", "state", "status", "result", "delayMs"] as const;
  await settleAll(db, { accountId, id, ...Object.fromEntries(fields.map((field) => [field, list(field)])) });
}
