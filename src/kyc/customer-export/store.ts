import { sql } from "drizzle-orm";
import type { Executor } from "../../db/client.ts";
import { epochMillis } from "../../db/schema.ts";
import { statement } from "../../db/statement.ts";

const given = sql.placeholder;
const account = given("accountId");
const millis = (column: string) => epochMillis(sql.raw(column));
const listed = sql`${given("sequences")}::text[]::bigint[]`;

/** A customer of an account. */
export interface Customer {
  accountId: string;
  customerId: string;
  digest: Buffer;
}

const selectCount = statement(
  () => sql`
    select count(*)::float8 from (
      select from kycs where account_id = ${account} and customer_id = ${given("customerId")} limit ${given("most")}::int + 1
    ) as counted`,
  ([count]: [number]) => count,
);

/** Whether the customer has more records than `most`. It reads no more of them than that. */
export async function hasMoreRecords(
  db: Executor,
  { accountId, customerId }: Customer,
  most: number,
): Promise<boolean> {
  return ((await selectCount(db, { accountId, customerId, most }))[0] ?? 0) > most;
}

const selectEventCount = statement(
  () => sql`
    select count(*)::float8 from (
      select from audit_event_customers
      where account_id = ${account} and customer_digest = decode(${given("digest")}::text, 'hex')
      limit ${given("most")}::int + 1
    ) as counted`,
  ([count]: [number]) => count,
);

/** Whether the customer has more events than `most`. It reads no more of them than that. */
export async function hasMoreEvents(
  db: Executor,
  { accountId, digest }: Customer,
  most: number,
): Promise<boolean> {
  const [count = 0] = await selectEventCount(db, { accountId, digest: digest.toString("hex"), most });
  return count > most;
}

/** Events of one page of sequences. */
const STEP = 500;

const selectSequences = statement(
  () => sql`
    select sequence::float8 from audit_event_customers
    where account_id = ${account} and customer_digest = decode(${given("digest")}::text, 'hex')
      and sequence < ${given("before")}::text::bigint
    order by audit_event_customers.sequence desc limit ${sql.raw(String(STEP))}`,
  ([sequence]: [number]) => sequence,
);

/** The sequences of the customer's events below `before`, the newest first, in pages. */
export async function* pageSequences(
  db: Executor,
  { accountId, digest }: Customer,
  before: number,
): AsyncGenerator<number[]> {
  for (let next = before; ; ) {
    const found = await selectSequences(db, {
      accountId,
      digest: digest.toString("hex"),
      before: String(next),
    });
    if (found.length > 0) yield found;
    if (found.length < STEP) return;
    next = found.at(-1) as number;
  }
}

const bind = (accountId: string, sequences: readonly number[]) => ({
  accountId,
  sequences: sequences.map(String),
});

/** A record that was deleted. Times are in epoch milliseconds. */
export interface DeletedRecord {
  id: string;
  /** Null: the place of the record in lists was not kept. */
  createdAt: number | null;
  deletedAt: number;
}

const selectDeletions = statement(
  () => sql`
    select event.kyc_ids[1], ${millis("place.created_at")}, ${millis("event.at")}
    from audit_events event
      left join deleted_kycs place on place.account_id = event.account_id and place.id = event.kyc_ids[1]
    where event.account_id = ${account} and event.sequence = any(${listed})
      and event.action = 'deleted' and event.other_action is null
    order by event.sequence desc`,
  ([id, createdAt, deletedAt]: [string, number | null, number]): DeletedRecord => ({
    ...{ id, createdAt, deletedAt },
  }),
);

/** The deletions among these events of the account. */
export const findDeletions = (
  db: Executor,
  accountId: string,
  sequences: readonly number[],
): Promise<DeletedRecord[]> => selectDeletions(db, bind(accountId, sequences));

/** What the receipt of an erasure says. Times are in epoch milliseconds. */
export interface ErasureSummary {
  id: string;
  erasedAt: number;
  /** Null: its event has no position yet. */
  position: number | null;
  kycIds: string[];
}

const selectErasures = statement(
  () => sql`
    select erasure.id, ${millis("erasure.erased_at")}, entry.position::float8, erasure.kyc_ids
    from audit_events event
      join erasures erasure on erasure.account_id = event.account_id and erasure.id = event.subject
      left join ledger_entries entry on entry.account_id = event.account_id and entry.sequence = event.sequence
    where event.account_id = ${account} and event.sequence = any(${listed}) and event.other_action is not null
      and erasure.customer_digest = decode(${given("digest")}::text, 'hex')
    order by event.sequence desc`,
  ([id, erasedAt, position, kycIds]: [string, number, number | null, string[]]): ErasureSummary => ({
    ...{ id, erasedAt, position, kycIds },
  }),
);

/** The erasures of the customer among these events. */
export const findErasures = (
  db: Executor,
  { accountId, digest }: Customer,
  sequences: readonly number[],
): Promise<ErasureSummary[]> =>
  selectErasures(db, { ...bind(accountId, sequences), digest: digest.toString("hex") });

/** An event that was sent to a webhook, or is to be. Times are in epoch milliseconds. */
export interface SentEvent {
  endpointId: string;
  position: number;
  kycId: string;
  eventType: string;
  state: string;
  attempts: number;
  queuedAt: number;
  firstAttemptAt: number | null;
  lastAttemptAt: number | null;
  lastStatus: number | null;
  lastResult: string | null;
}

// Each endpoint of the account is one look-up in the primary key for each event.
const selectDeliveries = statement(
  () => sql`
    select delivery.endpoint_id, delivery.position::float8, delivery.kyc_id, delivery.event_type, delivery.state,
      delivery.attempts, ${millis("delivery.queued_at")}, ${millis("delivery.first_attempt_at")},
      ${millis("delivery.last_attempt_at")}, delivery.last_status, delivery.last_result
    from ledger_entries entry
      join webhook_endpoints endpoint on endpoint.account_id = entry.account_id
      join webhook_deliveries delivery on delivery.account_id = entry.account_id
        and delivery.endpoint_id = endpoint.id and delivery.position = entry.position
    where entry.account_id = ${account} and entry.sequence = any(${listed})
    order by entry.sequence desc, endpoint.id`,
  ([endpointId, position, kycId, eventType, state, attempts, queuedAt, ...last]): SentEvent => ({
    ...{ endpointId, position, kycId, eventType, state, attempts, queuedAt },
    ...{ firstAttemptAt: last[0], lastAttemptAt: last[1], lastStatus: last[2], lastResult: last[3] },
  }),
);

/** What webhooks got, or are to get, of these events of the account. */
export const findDeliveries = (
  db: Executor,
  accountId: string,
  sequences: readonly number[],
): Promise<SentEvent[]> => selectDeliveries(db, bind(accountId, sequences));

const selectKeys = statement(
  () => sql`
    select kyc_id, ${millis("created_at")} from idempotency_keys
    where account_id = ${account} and kyc_id = any(${given("ids")}::text[]) order by kyc_id, created_at`,
  ([id, at]: [string, number]) => ({ id, at }),
);

/** When the idempotency keys of writes of these records were used, in epoch milliseconds, by the record. */
export async function findKeyTimes(
  db: Executor,
  accountId: string,
  ids: readonly string[],
): Promise<Map<string, number[]>> {
  const times = new Map<string, number[]>();
  if (ids.length === 0) return times;
  for (const { id, at } of await selectKeys(db, { accountId, ids }))
    times.set(id, [...(times.get(id) ?? []), at]);
  return times;
}

// A record's customer never changes: each of its changes says whose it was.
const selectOwn = statement(
  () => sql`
    select wanted.id from unnest(${given("ids")}::text[]) as wanted(id)
    where exists (
      select from kycs
      where account_id = ${account} and kycs.id = wanted.id and customer_id = ${given("customerId")}
    ) or exists (
      select from audit_events event
        join audit_event_customers customer
          on customer.account_id = event.account_id and customer.sequence = event.sequence
      where event.account_id = ${account} and event.kyc_ids[1] = wanted.id and event.action <> 'read'
        and customer.customer_digest = decode(${given("digest")}::text, 'hex')
    )`,
  ([id]: [string]) => id,
);
/** Ids of one statement. */
const MOST_IDS = 2000;

/** Those of these ids that are, or were, of records of the customer. */
export async function findOwnIds(
  db: Executor,
  { accountId, customerId, digest }: Customer,
  ids: readonly string[],
): Promise<Set<string>> {
  const own = new Set<string>();
  for (let from = 0; from < ids.length; from += MOST_IDS) {
    const some = ids.slice(from, from + MOST_IDS);
    const found = await selectOwn(db, { accountId, customerId, digest: digest.toString("hex"), ids: some });
    for (const id of found) own.add(id);
  }
  return own;
}
