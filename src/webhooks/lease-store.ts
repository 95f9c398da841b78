import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import type { LeasedEndpoint } from "./delivery-store.ts";
import type { StoredEndpoint } from "./endpoint.ts";
import { endpointColumns, toEndpoint } from "./endpoint-store.ts";

const given = sql.placeholder;
/** The time after so many milliseconds, by the database's clock. */
const after = (name: string) => sql`clock_timestamp() + make_interval(secs => ${given(name)}::float8 / 1000)`;

const selectFollowed = statement(
  () => sql`
    select account_id, min(position)::float8 from webhook_endpoints where disabled_at is null group by account_id`,
  ([accountId, position]: [string, number]) => ({ accountId, position }),
);
/** The accounts that have enabled endpoints, each with the lowest position of a cursor. */
export function findFollowed(db: Executor): Promise<{ accountId: string; position: number }[]> {
  return selectFollowed(db, {});
}

/** An endpoint, and how many events its account's log has. */
export interface LeasedState extends StoredEndpoint {
  size: number;
}
const leasedColumns = sql`${endpointColumns},
  coalesce((select size from ledger_heads head where head.account_id = e.account_id), 0)::float8`;
const toLeased = (values: unknown[]): LeasedState => ({
  ...toEndpoint(values),
  size: values.at(-1) as number,
});

// `wake_at` stays due: if this process dies, the next one must check the endpoint, whatever there was to do.
const take = statement(
  () => sql`
    update webhook_endpoints e set lease_owner = ${given("owner")}, lease_until = ${after("leaseMs")},
      served_at = clock_timestamp(), wake_at = clock_timestamp(), is_full = false
    from (
      select account_id, id from webhook_endpoints waiting
      where disabled_at is null and (lease_until is null or lease_until < clock_timestamp())
        and account_id <> all(${given("without")}::text[]) and (wake_at <= clock_timestamp() or (not is_full and exists (
          select from ledger_heads head where head.account_id = waiting.account_id and head.size > waiting.position
        )))
      order by served_at nulls first limit ${given("limit")}::int
      for update skip locked
    ) as due
    where e.account_id = due.account_id and e.id = due.id
    returning ${leasedColumns}`,
  toLeased,
);
/**
 * Takes endpoints with something to do for this process, `limit` at most and none of the accounts `without`: for
 * `leaseMs` milliseconds, no other process delivers to them.
 */
export function takeEndpoints(
  db: Executor,
  { owner, leaseMs, limit, without }: { owner: string; leaseMs: number; limit: number; without: string[] },
): Promise<LeasedState[]> {
  return take(db, { owner, leaseMs, limit, without });
}

const renew = statement(
  () => sql`
    update webhook_endpoints e set lease_until = ${after("leaseMs")}
    where e.account_id = ${given("accountId")} and e.id = ${given("id")} and lease_owner = ${given("owner")}
      and lease_until > clock_timestamp() and disabled_at is null
    returning ${leasedColumns}`,
  toLeased,
);
/** Prolongs the lease, and returns the endpoint as it is now. Undefined: the process may not deliver to it any more. */
export async function renewLease(
  db: Executor,
  { accountId, id, owner }: LeasedEndpoint,
  leaseMs: number,
): Promise<LeasedState | undefined> {
  return (await renew(db, { accountId, id, owner, leaseMs }))[0];
}

// A delivery that is due by now was taken, unless it waits for an earlier change of its record. So the next attempt is at a time to
// come; what came due in the last two seconds is looked at once more.
const release = statement(
  () => sql`
    update webhook_endpoints e set lease_owner = null, lease_until = null, is_full = ${given("isFull")}::boolean,
      wake_at = least(${after("mostMs")}, (
        select min(next_attempt_at) from webhook_deliveries
        where account_id = ${given("accountId")} and endpoint_id = ${given("id")} and state = 'pending'
          and next_attempt_at > clock_timestamp() - interval '2 s'
      ))
    where e.account_id = ${given("accountId")} and e.id = ${given("id")} and lease_owner = ${given("owner")}`,
);
/**
 * Gives the endpoint back. It is looked at again when its next delivery is due or its log has grown, and after `mostMs`
 * milliseconds in any case; `isFull`: its cursor has to wait.
 */
export async function releaseLease(
  db: Executor,
  { accountId, id, owner }: LeasedEndpoint,
  { isFull, mostMs }: { isFull: boolean; mostMs: number },
): Promise<void> {
  await release(db, { accountId, id, owner, isFull, mostMs });
}

/** The work that all endpoints have before them. */
export interface WebhookFigures {
  enabled: number;
  disabled: number;
  /** Events that the last cursor has not reached. */
  behind: number;
  /** Deliveries that have waited for five seconds, since they or an earlier one failed; counted up to a hundred thousand. */
  held: number;
}

const selectFigures = statement(
  () => sql`
    select count(*) filter (where disabled_at is null)::float8, count(*) filter (where disabled_at is not null)::float8,
      coalesce(max(size - position) filter (where disabled_at is null), 0)::float8,
      (select count(*)::float8 from (
        select from webhook_deliveries delivery
        join webhook_endpoints endpoint on endpoint.account_id = delivery.account_id and endpoint.id = delivery.endpoint_id
        where endpoint.disabled_at is null and delivery.state = 'pending'
          and delivery.queued_at < clock_timestamp() - interval '5 s'
        limit 100000
      ) as waiting)
    from webhook_endpoints left join ledger_heads using (account_id)`,
  ([enabled, disabled, behind, held]: number[]) => ({ enabled, disabled, behind, held }) as WebhookFigures,
);
/** The figures of all accounts' endpoints. */
export async function readFigures(db: Executor): Promise<WebhookFigures> {
  return (await selectFigures(db, {}))[0] as WebhookFigures;
}

const forget = statement(
  () => sql`
    delete from webhook_deliveries where account_id = ${given("accountId")} and endpoint_id = ${given("id")}
      and state = 'failed' and last_attempt_at < clock_timestamp() - interval '30 days'`,
);
/** Removes the endpoint's deliveries that were given up a month ago. */
export async function forgetFailed(db: Executor, { accountId, id }: LeasedEndpoint): Promise<void> {
  await forget(db, { accountId, id });
}
