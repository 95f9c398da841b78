import { sql } from "drizzle-orm";
import { toStoredWords } from "../administration/stored-words.ts";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { SALT_LENGTH, saltedHash, toLeaf } from "./event-leaf.ts";
import { LedgerError } from "./ledger-error.ts";
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
  filed: Filing;
}

/** What lists find an event by, besides its values. */
interface Filing {
  /** The columns for the action and the surface, as in `StoredWords`. */
  words: (string | null)[];
  /** Whether it is in the history of each of its records. */
  isOfRecords: boolean;
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
  const [words, isOfRecords, ...rest] = values.slice(ENTRY_FIELDS.length);
  return {
    ...{ entry: entry as unknown as Entry, event: rest[0] === null ? null : toEvent(rest) },
    filed: { words, isOfRecords } as Filing,
  };
}

// One look-up of an index per entry, and one for each of its records. Without the limit, each of the latter could read the
// whole index while the table has no statistics.
const eventOfEntry = sql`lateral (
  select array[action::text, other_action, surface::text, other_surface],
    not exists (
      select from unnest(kyc_ids) as record (kyc_id) where (
        select about.sequence from audit_event_records about
        where about.account_id = ${given("accountId")} and about.kyc_id = record.kyc_id collate "C"
          and about.sequence = event.sequence limit 1) is null),
    ${eventColumns}
  from audit_events event where account_id = ${given("accountId")} and sequence = entry.sequence
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

/**
 * The canonical text of an event, at the position of its entry unless another one is given. Fails with a LedgerError if
 * somebody has changed the length of a salt.
 */
export function leafOf({ entry, event }: SealedEvent, position: number = entry.position): string {
  const { actorHash, reasonHash } = entry;
  if (entry.tokenNameSalt.length !== SALT_LENGTH) {
    throw new LedgerError(
      `the entry ${entry.position} of the log of ${entry.accountId} is not what was sealed: run \`audit verify\``,
    );
  }
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
  return salt.length === SALT_LENGTH && (hash?.equals(saltedHash(salt, text)) ?? false);
}

/** Whether lists show the event as its leaf has it: under its action and surface, and in the history of its records. */
export function isFiledAsSealed({ event, filed }: SealedEvent & Pick<StoredEntry, "filed">): boolean {
  const { action, otherAction, surface, otherSurface } = toStoredWords(event);
  const words = [action, otherAction, surface, otherSurface];
  return filed.isOfRecords && words.every((word, index) => word === filed.words[index]);
}
