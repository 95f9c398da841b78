import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { toTimestamptz } from "../db/schema.ts";
import { statement } from "../db/statement.ts";
import type { StoredEndpoint } from "./endpoint.ts";
import type { DisabledReason } from "./event-types.ts";

const given = sql.placeholder;
const millis = (column: string) => `round(date_part('epoch', ${column}) * 1000)`;

/** The columns of an endpoint `e` that `toEndpoint` reads. */
export const endpointColumns = sql.raw(
  `e.account_id, e.id, e.url, e.event_types, e.sealed_secrets, ${millis("e.previous_until")}, ${millis("e.created_at")},
   ${millis("e.disabled_at")}, e.disabled_because, e.position::float8, ${millis("e.last_success_at")},
   ${millis("e.failing_since")}`,
);
const FIELDS = [
  "accountId",
  "id",
  "url",
  "eventTypes",
  "sealedSecrets",
  "previousUntil",
  "createdAt",
  "disabledAt",
  "disabledBecause",
  "position",
  "lastSuccessAt",
  "failingSince",
] as const satisfies (keyof StoredEndpoint)[];
/** The endpoint of these values, and of what comes after them no more. */
export const toEndpoint = (values: unknown[]) =>
  Object.fromEntries(FIELDS.map((field, index) => [field, values[index]])) as unknown as StoredEndpoint;

/** The endpoint of the parameters `accountId` and `id`. */
const isGiven = sql`e.account_id = ${given("accountId")} and e.id = ${given("id")}`;

const selectAll = statement(
  () => sql`
    select ${endpointColumns} from webhook_endpoints e where e.account_id = ${given("accountId")}
    order by e.created_at, e.id`,
  toEndpoint,
);
/** The account's endpoints, oldest first. */
export function findEndpoints(db: Executor, accountId: string): Promise<StoredEndpoint[]> {
  return selectAll(db, { accountId });
}

const selectOne = statement(
  () => sql`select ${endpointColumns} from webhook_endpoints e where ${isGiven}`,
  toEndpoint,
);
/** The account's endpoint with this id. */
export async function findEndpoint(
  db: Executor,
  accountId: string,
  id: string,
): Promise<StoredEndpoint | undefined> {
  return (await selectOne(db, { accountId, id }))[0];
}

const selectLocked = statement(
  () => sql`select ${endpointColumns} from webhook_endpoints e where ${isGiven} for update`,
  toEndpoint,
);
/** As `findEndpoint`, and nobody else changes it until the transaction ends. */
export async function lockEndpoint(
  tx: Executor,
  accountId: string,
  id: string,
): Promise<StoredEndpoint | undefined> {
  return (await selectLocked(tx, { accountId, id }))[0];
}

const insert = statement(
  () => sql`
    insert into webhook_endpoints as e (account_id, id, url, event_types, sealed_secrets, created_at, position, wake_at)
    select ${given("accountId")}::text, ${given("id")}::text, ${given("url")}::text, ${given("eventTypes")}::text[],
      ${given("sealedSecrets")}::text, ${given("createdAt")}::timestamptz,
      coalesce((select size from ledger_heads where account_id = ${given("accountId")}::text), 0), clock_timestamp()
    where (select count(*) from webhook_endpoints where account_id = ${given("accountId")}::text) < ${given("most")}::int
    returning ${endpointColumns}`,
  toEndpoint,
);
/** Adds an endpoint that gets the events from now on. Undefined: the account has as many as it may have. */
export async function insertEndpoint(
  tx: Executor,
  endpoint: Pick<StoredEndpoint, "accountId" | "id" | "url" | "eventTypes" | "sealedSecrets" | "createdAt">,
  most: number,
): Promise<StoredEndpoint | undefined> {
  return (await insert(tx, { ...endpoint, createdAt: toTimestamptz(endpoint.createdAt), most }))[0];
}

const rewrite = statement(
  () => sql`
    update webhook_endpoints e set url = ${given("url")}, event_types = ${given("eventTypes")}::text[],
      sealed_secrets = ${given("sealedSecrets")}, previous_until = ${given("previousUntil")}::timestamptz
    where ${isGiven} returning ${endpointColumns}`,
  toEndpoint,
);
/** Writes what users can change of an endpoint. */
export async function rewriteEndpoint(tx: Executor, endpoint: StoredEndpoint): Promise<StoredEndpoint> {
  const { accountId, id, url, eventTypes, sealedSecrets } = endpoint;
  const previousUntil = endpoint.previousUntil === null ? null : toTimestamptz(endpoint.previousUntil);
  const values = { accountId, id, url, eventTypes, sealedSecrets, previousUntil };
  return (await rewrite(tx, values))[0] as StoredEndpoint;
}

const disable = statement(
  () => sql`
    update webhook_endpoints e set disabled_at = ${given("at")}::timestamptz, disabled_because = ${given("reason")}
    where ${isGiven} and e.disabled_at is null returning ${endpointColumns}`,
  toEndpoint,
);
/** Disables an endpoint; undefined: there is none, or it was disabled already. */
export async function disableStored(
  tx: Executor,
  accountId: string,
  id: string,
  { at, reason }: { at: number; reason: DisabledReason },
): Promise<StoredEndpoint | undefined> {
  return (await disable(tx, { accountId, id, at: toTimestamptz(at), reason }))[0];
}

// Deliveries that wait start again with all their attempts.
const enable = statement(
  () => sql`
    with waiting as (
      update webhook_deliveries set attempts = 0, first_attempt_at = null, next_attempt_at = clock_timestamp()
      where account_id = ${given("accountId")} and endpoint_id = ${given("id")} and state = 'pending'
    )
    update webhook_endpoints e set disabled_at = null, disabled_because = null, failing_since = null,
      wake_at = clock_timestamp(), is_full = false
    where ${isGiven} and e.disabled_at is not null returning ${endpointColumns}`,
  toEndpoint,
);
/** Enables an endpoint; undefined: there is none, or it was enabled already. */
export async function enableStored(
  tx: Executor,
  accountId: string,
  id: string,
): Promise<StoredEndpoint | undefined> {
  return (await enable(tx, { accountId, id }))[0];
}

const remove = statement(
  () => sql`
    with gone as (
      delete from webhook_deliveries where account_id = ${given("accountId")} and endpoint_id = ${given("id")}
    )
    delete from webhook_endpoints e where ${isGiven} returning 1`,
  () => true,
);
/** Removes an endpoint and its deliveries. False: there is none. */
export async function removeEndpoint(tx: Executor, accountId: string, id: string): Promise<boolean> {
  return (await remove(tx, { accountId, id })).length > 0;
}

const selectPage = statement(
  () => sql`
    select ${endpointColumns} from webhook_endpoints e
    where (e.account_id, e.id) > (${given("accountId")}, ${given("id")})
    order by e.account_id, e.id limit ${given("limit")}::int`,
  toEndpoint,
);
/** The endpoints of all accounts after this one. */
export function findEndpointsAfter(
  db: Executor,
  after: Pick<StoredEndpoint, "accountId" | "id">,
  limit: number,
): Promise<StoredEndpoint[]> {
  return selectPage(db, { ...after, limit });
}

const countKeys = statement(
  () => sql`
    select split_part(sealed_secrets, '.', 1), count(*)::float8 from webhook_endpoints group by 1`,
  (values: [string, number]) => values,
);
/** How many endpoints' secrets each encryption key seals. */
export async function countEndpointsByKey(db: Executor): Promise<Map<string, number>> {
  return new Map(await countKeys(db, {}));
}

const replace = statement(
  () => sql`
    update webhook_endpoints e set sealed_secrets = ${given("sealed")}
    where ${isGiven} and e.sealed_secrets = ${given("old")} returning 1`,
  () => true,
);
/** Replaces the sealed secrets unless they have changed since they were read. False: they have. */
export async function replaceSealedSecrets(
  db: Executor,
  { accountId, id, sealedSecrets: old }: StoredEndpoint,
  sealed: string,
): Promise<boolean> {
  return (await replace(db, { accountId, id, old, sealed })).length > 0;
}
