import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import type { FoundWork, Progress } from "./find-work.ts";
import { eventColumns, hasNoPosition, toEvent, type UnsealedEvent } from "./unsealed-event.ts";

const given = sql.placeholder;

/** The result of a search for events. */
export interface FoundEvents {
  /** The events to seal now, in the order of their positions. */
  events: UnsealedEvent[];
  /** The progress once they are sealed. */
  after: Progress;
  /** Whether all others have a position. */
  isAll: boolean;
}

// Newer events are read as well, and left out by the caller: with a condition for them, the plan could be one that reads
// and sorts all old events for each batch.
const selectOld = statement(
  () => sql`
    select ${hasNoPosition}, ${eventColumns} from audit_events event
    where (account_id, at, sequence) > (${given("oldAccount")}, coalesce(
      (select at from audit_events where account_id = ${given("oldAccount")} and sequence = ${given("oldSequence")}::bigint),
      '-infinity'), ${given("oldSequence")}::bigint)
    order by account_id, at, event.sequence limit ${given("limit")}::int`,
  ([isUnsealed, ...values]: unknown[]) => ({ ...toEvent(values), isUnsealed: isUnsealed as boolean }),
);

/** Records that the events of one batch may be about, for an event can be about a thousand. */
const MOST_RECORDS = 20_000;

/** As many of the events, from the first one on, as are about at most `MOST_RECORDS` records; at least one. */
function withinRecords<Event extends UnsealedEvent>(events: Event[]): Event[] {
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
  { progress }: Pick<FoundWork, "progress">,
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
  // They have positions already if somebody has put the progress back, as with an older copy of its table.
  const events = found.filter(({ writtenIn, isUnsealed }) => writtenIn === null && isUnsealed);
  return { events, after, isAll: false };
}

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
    where ${hasNoPosition} order by event.sequence limit ${given("limit")}::int`,
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
 * The committed events of this release without a position, about `limit` at most, which the look has found. Of two changes
 * of one record, the later one got its sequence while it had the record locked, after the earlier one had committed: by
 * sequence they are in their order, within one call and over several.
 */
export async function findNewEvents(db: Executor, work: FoundWork, limit: number): Promise<FoundEvents> {
  const { progress, now, isRestored } = work;
  if (isRestored) {
    const { nextTransaction: next, openTransactions: open } = progress;
    const events = await selectRestored(db, { next, open, limit });
    const isAll = events.length < limit;
    return { events, after: isAll ? { ...progress, ...now, openSequences: [] } : progress, isAll };
  }
  const isSince = ({ writtenIn }: UnsealedEvent) =>
    BigInt(writtenIn as string) >= BigInt(progress.nextTransaction);
  const since = work.events.filter(isSince);
  const earlier = work.events.filter((event) => !isSince(event));
  const isCut = { since: since.length >= limit, earlier: earlier.length >= limit };
  const events = work.events.toSorted((a, b) => a.sequence - b.sequence);
  const open = new Map(now.openTransactions.map((id) => [id, "0"]));
  if (!isCut.since && !isCut.earlier)
    return { events, after: { ...progress, ...now, openSequences: [] }, isAll: true };
  if (isCut.earlier) {
    for (const [index, id] of progress.openTransactions.entries())
      open.set(id, progress.openSequences[index] ?? "0");
    for (const [id, sequence] of lastSequences(earlier)) open.set(id, String(sequence));
  }
  let next = now.nextTransaction;
  if (isCut.since) {
    // Of the last transaction there may be more.
    const [id, sequence] = [...lastSequences(since)].reduce((a, b) => (BigInt(b[0]) > BigInt(a[0]) ? b : a));
    open.set(id, String(sequence));
    next = String(BigInt(id) + 1n);
  }
  const below = [...open].filter(([id]) => BigInt(id) < BigInt(next));
  return {
    // An event that was not read can be the earlier change of a record.
    events: await withEarlier(db, events),
    after: {
      ...progress,
      nextTransaction: next,
      openTransactions: below.map(([id]) => id),
      openSequences: below.map(([, sequence]) => sequence),
    },
    isAll: false,
  };
}

/** Of each transaction of the events, the highest sequence. */
function lastSequences(events: readonly UnsealedEvent[]): Map<string, number> {
  const last = new Map<string, number>();
  for (const { writtenIn, sequence } of events) {
    const id = writtenIn as string;
    last.set(id, Math.max(sequence, last.get(id) ?? 0));
  }
  return last;
}

const nameOf = ({ accountId, sequence }: UnsealedEvent) => `${accountId}/${sequence}`;

/** The events, and before them what the histories of their records have before them. */
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
