import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import type { EventCustomer } from "./earlier-customers.ts";
import { SALT_LENGTH } from "./event-leaf.ts";
import type { Progress } from "./find-work.ts";
import type { Head } from "./heads.ts";
import { HASH_LENGTH } from "./tree.ts";

const given = sql.placeholder;

/** An event's position and leaf. */
export interface Entry {
  accountId: string;
  position: number;
  sequence: number;
  leafHash: Buffer;
  tokenNameSalt: Buffer;
  actorSalt: Buffer | null;
  actorHash: Buffer | null;
  reasonSalt: Buffer | null;
  reasonHash: Buffer | null;
}

/** A complete subtree of an account's tree. */
export interface Node {
  accountId: string;
  level: number;
  index: number;
  hash: Buffer;
}

/** Lists of texts, one per column, as rows. */
const rowsOf = (name: string, fields: readonly string[]) => {
  const lists = sql.join(
    fields.map((field) => sql`${given(`${name}.${field}`)}::text[]`),
    sql`, `,
  );
  return sql`unnest(${lists}) with ordinality as given(${sql.raw(fields.map((field) => `"${field}"`).join(", "))}, number)`;
};
/** A row's part of the values of all rows, which are one after the other. The subquery is computed once. */
const part = (name: string, length: number) =>
  sql`substring((select decode(${given(name)}, 'hex')) from ((number - 1) * ${sql.raw(String(length))} + 1)::int for ${sql.raw(String(length))})`;
const bytea = (field: string) => `decode("${field}", 'hex')`;
const ENTRY_FIELDS = [
  "accountId",
  "position",
  "sequence",
  "actorSalt",
  "actorHash",
  "reasonSalt",
  "reasonHash",
] as const satisfies (keyof Entry)[];
const NODE_FIELDS = ["accountId", "level", "index", "hash"] as const satisfies (keyof Node)[];
const HEAD_FIELDS = ["accountId", "size", "frontier"] as const;
const CUSTOMER_FIELDS = [
  "accountId",
  "customerDigest",
  "sequence",
] as const satisfies (keyof EventCustomer)[];

/**
 * The channel that tells which logs have grown: an account, a space, and the size of its log. The sealer notifies, and not
 * the transactions that write events: of those that notify, one commits after the other.
 */
export const GROWN_CHANNEL = "kyc_gateway_grown";

/**
 * The turn is compared in the statement that writes, and nothing is written if it is another. So of several sealers
 * that found the same events one numbers them, without a lock between statements: one that is paused or dies holds
 * nothing, and one that continues after a pause writes nothing. Whatever the plan, a position can't be given twice, nor
 * an event have two: the statement would fail with a duplicate key.
 */
const write = statement(
  () => sql`
    with turn as (
      update ledger_progress set turn = turn + 1, next_transaction = ${given("nextTransaction")}::text::xid8,
        open_transactions = ${given("openTransactions")}::text[]::xid8[], old_account = ${given("oldAccount")},
        old_sequence = ${given("oldSequence")}::bigint, old_done = ${given("oldDone")}::boolean
      where name = 'events' and turn = ${given("turn")}::bigint
      returning turn
    ),
    entry as (
      insert into ledger_entries (account_id, position, sequence, leaf_hash, token_name_salt, actor_salt, actor_hash,
        reason_salt, reason_hash)
      select "accountId", "position"::bigint, "sequence"::bigint, ${part("leafHashes", HASH_LENGTH)},
        ${part("tokenNameSalts", SALT_LENGTH)}, ${sql.raw(ENTRY_FIELDS.slice(3).map(bytea).join(", "))}
      from ${rowsOf("entry", ENTRY_FIELDS)} where exists (select from turn)
    ),
    node as (
      insert into ledger_nodes (account_id, level, index, hash)
      select "accountId", "level"::int, "index"::bigint, ${sql.raw(bytea("hash"))}
      from ${rowsOf("node", NODE_FIELDS)} where exists (select from turn)
    ),
    customer as (
      insert into audit_event_customers (account_id, customer_digest, sequence)
      select "accountId", ${sql.raw(bytea("customerDigest"))}, "sequence"::bigint
      from ${rowsOf("customer", CUSTOMER_FIELDS)} where exists (select from turn)
    ),
    head as (
      insert into ledger_heads (account_id, size, frontier)
      select "accountId", "size"::bigint, ${sql.raw(bytea("frontier"))}
      from ${rowsOf("head", HEAD_FIELDS)} where exists (select from turn)
      on conflict (account_id) do update set size = excluded.size, frontier = excluded.frontier
      returning account_id, size
    )
    select (select count(pg_notify('${sql.raw(GROWN_CHANNEL)}', account_id || ' ' || size)) from head) from turn`,
  () => true,
);

/** Everything that is written in one turn. */
export interface Sealed {
  entries: readonly Entry[];
  nodes: readonly Node[];
  heads: readonly Head[];
  /** Of events that were written without them. */
  customers: readonly EventCustomer[];
}

/**
 * Appends the entries to their logs and notes the progress, all or nothing, if nobody else has written since the
 * progress of this turn was read. False: somebody has, and nothing was written.
 */
export async function writeEntries(
  db: Executor,
  progress: Progress,
  { entries, nodes, heads, customers }: Sealed,
): Promise<boolean> {
  const values: Record<string, unknown> = {
    ...progress,
    leafHashes: Buffer.concat(entries.map(({ leafHash }) => leafHash)).toString("hex"),
    tokenNameSalts: Buffer.concat(entries.map(({ tokenNameSalt }) => tokenNameSalt)).toString("hex"),
  };
  for (const key of ["turn", "oldSequence"] as const) values[key] = String(progress[key]);
  for (const field of ENTRY_FIELDS)
    values[`entry.${field}`] = withoutLastNulls(entries.map((entry) => textOf(entry[field])));
  for (const field of NODE_FIELDS) values[`node.${field}`] = nodes.map((node) => textOf(node[field]));
  for (const field of CUSTOMER_FIELDS)
    values[`customer.${field}`] = customers.map((customer) => textOf(customer[field]));
  const rows = heads.map(({ hashes, ...head }) => ({ ...head, frontier: Buffer.concat(hashes) }));
  for (const field of HEAD_FIELDS) values[`head.${field}`] = rows.map((head) => textOf(head[field]));
  return (await write(db, values)).length > 0;
}

/** `unnest` fills up the shorter lists with nulls. */
function withoutLastNulls(list: (string | null)[]): (string | null)[] {
  return list.slice(0, list.findLastIndex((item) => item !== null) + 1);
}

function textOf(value: string | number | Buffer | null): string | null {
  return Buffer.isBuffer(value) ? value.toString("hex") : value === null ? null : String(value);
}
