import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { saltedHash, toLeaf } from "./event-leaf.ts";
import type { Entry } from "./store.ts";
import { eventColumns, toEvent, type UnsealedEvent } from "./unsealed-event.ts";

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
   entry.actor_salt, entry.actor_hash, entry.reason_salt, entry.reason_hash`,
);

const ENTRY_FIELDS = [
  ...["accountId", "position", "sequence", "leafHash", "tokenNameSalt"],
  ...["actorSalt", "actorHash", "reasonSalt", "reasonHash"],
];

function toStoredEntry(values: unknown[]): StoredEntry {
  const entry = Object.fromEntries(ENTRY_FIELDS.map((field, index) => [field, values[index]]));
  const rest = values.slice(ENTRY_FIELDS.length);
  return { entry: entry as unknown as Entry, event: rest[0] === null ? null : toEvent(rest) };
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

/** The account's events with these sequences that have a position, in no order. */
export function findSealed(
  db: Executor,
  accountId: string,
  sequences: readonly number[],
): Promise<SealedEvent[]> {
  return selectSealed(db, { accountId, sequences: sequences.map(String) });
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
  const { actorHash, reasonHash } = entry;
  const tokenNameHash = saltedHash(entry.tokenNameSalt, event.tokenName);
  return toLeaf(event, { position, tokenNameHash, actorHash, reasonHash });
}

/** Whether the reason and the name of who signed in are those that were sealed, or were erased with their salts. */
export function hasSealedTexts({ entry, event }: SealedEvent): boolean {
  return (
    isSealedText(event.reason, entry.reasonSalt, entry.reasonHash) &&
    isSealedText(event.actorName, entry.actorSalt, entry.actorHash)
  );
}

function isSealedText(text: string | null, salt: Buffer | null, hash: Buffer | null): boolean {
  if (text === null || salt === null) return text === null && salt === null;
  return hash?.equals(saltedHash(salt, text)) ?? false;
}
