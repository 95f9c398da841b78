import { sql } from "drizzle-orm";
import type { AuditEvent } from "../audit/event.ts";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import type { FoundWork, Progress } from "./progress-store.ts";

const given = sql.placeholder;

/** An event without a position. */
export interface UnsealedEvent extends Omit<AuditEvent, "position"> {
  accountId: string;
  /** The transaction that wrote it; null if it was written before the upgrade to this release. */
  writtenIn: string | null;
  /** Whether its customers were written with it; null in events of release 0.2. */
  hasCustomers: boolean | null;
}

/** The result of a search for events. */
export interface FoundEvents {
  /** The events to seal now, in the order of their positions. */
  events: UnsealedEvent[];
  /** The progress once they are sealed. */
  after: Progress;
  /** Whether all others have a position. */
  isAll: boolean;
}

const FIELDS = [
  "accountId",
  "sequence",
  "at",
  "tokenId",
  "tokenName",
  "actorName",
  "surface",
  "requestId",
  "action",
  "subject",
  "kycIds",
  "changedFields",
  "statusBefore",
  "statusAfter",
  "documentTypeAfter",
  "versionAfter",
  "reason",
  "writtenIn",
  "hasCustomers",
] as const satisfies (keyof UnsealedEvent)[];

/** The columns of `audit_events` that `toEvent` reads. */
export const eventColumns = sql.raw(
  `account_id, sequence::float8, round(date_part('epoch', at) * 1000), token_id, token_name, actor_name,
   coalesce(other_surface, surface::text), request_id, coalesce(other_action, action::text), subject, kyc_ids,
   changed_fields, status_before, status_after, document_type_after, version_after, reason, written_in::text,
   has_customers`,
);
/** The event of these values. */
export const toEvent = (values: unknown[]) =>
  Object.fromEntries(FIELDS.map((field, index) => [field, values[index]])) as unknown as UnsealedEvent;

// As a join, it could be planned as one that reads all entries; a subquery with a limit is one look-up per event.
const hasNoPosition = sql`(
  select 1 from ledger_entries entry
  where entry.account_id = event.account_id and entry.sequence = event.sequence limit 1
) is null`;

// Newer events are read as well, and left out by the caller: with a condition for them, the plan could be one that reads
// and sorts all old events for each batch.
const selectOld = statement(
  () => sql`
    select ${eventColumns} from audit_events
    where (account_id, at, sequence) > (${given("oldAccount")}, coalesce(
      (select at from audit_events where account_id = ${given("oldAccount")} and sequence = ${given("oldSequence")}::bigint),
      '-infinity'), ${given("oldSequence")}::bigint)
    order by account_id, at, sequence limit ${given("limit")}::int`,
  toEvent,
);

/** Records that the events of one batch may be about, for an event can be about a thousand. */
const MOST_RECORDS = 20_000;

/** As many of the events, from the first one on, as are about at most `MOST_RECORDS` records; at least one. */
function withinRecords(events: UnsealedEvent[]): UnsealedEvent[] {
  let records = 0;
  const end = events.findIndex(({ kycIds }, index) => {
    records += kycIds.length;
    return records > MOST_RECORDS && index > 0;
  });
  return end === -1 ? events : events.slice(0, end);
}

/** The next events of an earlier release among `limit` events. Their positions are in the order of time and sequence. */
export async function findOldEvents(
  db: Executor,
  { progress }: FoundWork,
  limit: number,
): Promise<FoundEvents> {
  const { oldAccount, oldSequence } = progress;
  const read = await selectOld(db, { oldAccount, oldSequence: String(oldSequence), limit });
  const found = withinRecords(read);
  const last = found.at(-1);
  const after = {
    ...progress,
    ...(last && { oldAccount: last.accountId, oldSequence: last.sequence }),
    oldDone: read.length < limit && found.length === read.length,
  };
  return { events: found.filter(({ writtenIn }) => writtenIn === null), after, isAll: false };
}

/** At most `limit` events in the order of their transactions, and those of transactions that were open before. */
const selectNew = statement(
  () => sql`
    (select ${eventColumns} from audit_events event
      where written_in >= ${given("next")}::text::xid8 and written_in < pg_snapshot_xmax(pg_current_snapshot())
        and ${hasNoPosition}
      order by written_in limit ${given("limit")}::int)
    union all
    (select ${eventColumns} from unnest(${given("open")}::text[]::xid8[]) as earlier(id), lateral (
      select * from audit_events where written_in >= id and written_in <= id order by written_in
    ) as event where ${hasNoPosition} limit ${given("limit")}::int)`,
  toEvent,
);

/**
 * After a dump was restored into another server: what the old one has left without a position, and what the new one has
 * written. Of each account, the latter has the highest sequences.
 */
const selectRestored = statement(
  () => sql`
    with recursive account(id) as (
      (select account_id from audit_events order by account_id limit 1)
      union all
      select (select account_id from audit_events where account_id > id order by account_id limit 1)
      from account where id is not null
    )
    select ${eventColumns} from (
      select * from audit_events where written_in >= ${given("next")}::text::xid8
      union
      select * from audit_events where written_in = any(${given("open")}::text[]::xid8[])
      union
      select newer.* from account, lateral (
        select * from audit_events where account_id = id and sequence > coalesce(
          (select sequence from ledger_entries where account_id = id order by sequence desc limit 1), 0)
      ) as newer
    ) as event
    where ${hasNoPosition} order by sequence limit ${given("limit")}::int`,
  toEvent,
);

/** The events without a position that directly precede these ones in the histories of their records. */
const selectEarlier = statement(
  () => sql`
    select distinct on (account_id, sequence) ${eventColumns} from unnest(
      ${given("accountIds")}::text[], ${given("kycIds")}::text[], ${given("sequences")}::text[]
    ) as later("account", kyc, "before"), lateral (
      select account_id, sequence from audit_event_records
      where account_id = "account" and kyc_id = kyc and sequence < "before"::bigint
      order by sequence desc limit 1
    ) as earlier join audit_events event using (account_id, sequence)
    where ${hasNoPosition}`,
  toEvent,
);

/**
 * The committed events of this release without a position, about `limit` at most. Of two changes of one record, the later
 * one got its sequence while it had the record locked, after the earlier one had committed: by sequence they are in their
 * order, within one call and over several.
 */
export async function findNewEvents(db: Executor, work: FoundWork, limit: number): Promise<FoundEvents> {
  const { progress, now } = work;
  const { nextTransaction: next, openTransactions: open } = progress;
  // Numbers of transactions only rise: a database whose next one is lower was restored from a dump into another server.
  const isRestored = BigInt(now.nextTransaction) < BigInt(next);
  const found = await (isRestored ? selectRestored : selectNew)(db, { next, open, limit });
  found.sort((a, b) => a.sequence - b.sequence);
  if (found.length < limit) return { events: found, after: { ...progress, ...now }, isAll: true };
  if (isRestored) return { events: found, after: progress, isAll: false };
  // The events that were not read may have lower sequences than some of these: the higher half waits for the next call,
  // and the lower half is preceded by what the histories of its records have before it.
  const half = Math.ceil(found.length / 2);
  const events = await withEarlier(db, found.slice(0, half));
  const sealed = new Set(events.map(nameOf));
  return { events, after: { ...progress, ...upTo(work, { found, sealed, limit }) }, isAll: false };
}

const nameOf = ({ accountId, sequence }: UnsealedEvent) => `${accountId}/${sequence}`;

async function withEarlier(db: Executor, events: UnsealedEvent[]): Promise<UnsealedEvent[]> {
  const known = new Map(events.map((event) => [nameOf(event), event]));
  for (let latest = events; latest.length > 0; ) {
    const about = latest.flatMap(({ accountId, sequence, kycIds }) =>
      kycIds.map((kycId) => ({ accountId, kycId, sequence: String(sequence) })),
    );
    const found = await selectEarlier(db, {
      accountIds: about.map(({ accountId }) => accountId),
      kycIds: about.map(({ kycId }) => kycId),
      sequences: about.map(({ sequence }) => sequence),
    });
    latest = found.filter((event) => !known.has(nameOf(event)));
    for (const event of latest) known.set(nameOf(event), event);
  }
  return [...known.values()].sort((a, b) => a.sequence - b.sequence);
}

/**
 * How far the transactions have been considered once those of the found events that are in `sealed` have positions.
 * `limit` events were read at most, both of the transactions since the last call and of those that were open before.
 */
function upTo(
  { progress, now }: FoundWork,
  { found, sealed, limit }: { found: readonly UnsealedEvent[]; sealed: ReadonlySet<string>; limit: number },
): Pick<Progress, "nextTransaction" | "openTransactions"> {
  const before = BigInt(progress.nextTransaction);
  const read = found.map((event) => ({
    id: BigInt(event.writtenIn as string),
    isLeft: !sealed.has(nameOf(event)),
  }));
  const since = read.filter(({ id }) => id >= before);
  const earlier = read.filter(({ id }) => id < before);
  const bounds = since.filter(({ isLeft }) => isLeft).map(({ id }) => id);
  // In the order of the transactions: of the last one, and of all after it, there may be more.
  if (since.length >= limit) bounds.push(since.map(({ id }) => id).reduce((a, b) => (a > b ? a : b)));
  const next = bounds.reduce((a, b) => (a < b ? a : b), BigInt(now.nextTransaction));
  const open = new Set([
    ...now.openTransactions.filter((id) => BigInt(id) < next),
    ...(earlier.length >= limit ? progress.openTransactions : []),
    ...earlier.filter(({ isLeft }) => isLeft).map(({ id }) => String(id)),
  ]);
  return { nextTransaction: String(next), openTransactions: [...open] };
}
