import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { saltedHash, toLeaf } from "./event-leaf.ts";
import type { Entry } from "./store.ts";
import { eventColumns, toEvent, type UnsealedEvent } from "./unsealed-store.ts";

const given = sql.placeholder;

/** An entry of a log, with the event that it is of. */
export interface SealedEvent {
  entry: Entry;
  event: UnsealedEvent;
}

/** An entry as it is stored: somebody can have removed its event. */
export interface StoredEntry {
  entry: Entry;
  event: UnsealedEvent | null;
}

const entryColumns = sql.raw(
  `entry.account_id, entry.position::float8, entry.sequence::float8, entry.leaf_hash, entry.token_name_salt,
   entry.reason_salt, entry.reason_hash`,
);

function toStoredEntry(values: unknown[]): StoredEntry {
  const [accountId, position, sequence, leafHash, tokenNameSalt, reasonSalt, reasonHash, ...rest] = values;
  const entry = { accountId, position, sequence, leafHash, tokenNameSalt, reasonSalt, reasonHash } as Entry;
  return { entry, event: rest[0] === null ? null : toEvent(rest) };
}

// One look-up of an index per entry.
const eventOfEntry = sql`lateral (
  select ${eventColumns} from audit_events
  where account_id = ${given("accountId")} and sequence = entry.sequence
) as event on true`;

const selectSealed = statement(
  () => sql`
    select ${entryColumns}, event.* from ledger_entries entry join ${eventOfEntry}
    where entry.account_id = ${given("accountId")}
      and entry.sequence = any(${given("sequences")}::text[]::bigint[])`,
  (values: unknown[]) => toStoredEntry(values) as SealedEvent,
);

/** Those of the account's events with these sequences that have a position, in no order. */
export function findSealed(
  db: Executor,
  accountId: string,
  sequences: readonly number[],
): Promise<SealedEvent[]> {
  return selectSealed(db, { accountId, sequences: sequences.map(String) });
}

const selectPositions = statement(
  () => sql`
    select sequence::float8, position::float8 from ledger_entries
    where account_id = ${given("accountId")} and sequence = any(${given("sequences")}::text[]::bigint[])`,
  (row: [sequence: number, position: number]) => row,
);

/** The positions of those of the account's events with these sequences that have one, by sequence. */
export async function findPositions(
  db: Executor,
  accountId: string,
  sequences: readonly number[],
): Promise<Map<number, number>> {
  return new Map(await selectPositions(db, { accountId, sequences: sequences.map(String) }));
}

const selectFrom = statement(
  () => sql`
    select ${entryColumns}, event.* from ledger_entries entry left join ${eventOfEntry}
    where entry.account_id = ${given("accountId")} and entry.position >= ${given("from")}::text::bigint
      and entry.position < ${given("to")}::text::bigint
    order by entry.position limit ${given("limit")}::int`,
  toStoredEntry,
);

/** The account's entries from this position on, `to` excluded, in order, `limit` at most. */
export function findEntries(
  db: Executor,
  accountId: string,
  { from, to, limit }: { from: number; to: number; limit: number },
): Promise<StoredEntry[]> {
  return selectFrom(db, { accountId, from: String(from), to: String(to), limit });
}

/** The canonical text of an event, at the position of its entry unless another one is given. */
export function leafOf({ entry, event }: SealedEvent, position: number = entry.position): string {
  const tokenNameHash = saltedHash(entry.tokenNameSalt, event.tokenName);
  return toLeaf({ ...event, position, tokenNameHash, reasonHash: entry.reasonHash });
}

/** Whether the reason of the event is the one that was sealed, or was erased together with its salt. */
export function hasSealedReason({
  entry: { reasonSalt, reasonHash },
  event: { reason },
}: SealedEvent): boolean {
  if (reason === null) return reasonSalt === null;
  return reasonSalt !== null && reasonHash !== null && saltedHash(reasonSalt, reason).equals(reasonHash);
}
