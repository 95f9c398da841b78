import type { Database, Executor } from "../../src/db/client.ts";

const PARTITIONS = 4;

/** Tables that no account's records lie in, or that are looked up before the account is known. */
export const NOT_PARTITIONED: Record<string, string> = {
  tokens: "a request is known by its token's hash alone: its account is what the look-up finds out",
  encryption_keys: "the fingerprints of the keys, which serve all accounts",
  milestones: "what the database as a whole has reached",
  secrets: "secrets of the gateway, which serve all accounts",
  job_leases: "one row for each job that serves all accounts",
  ledger_progress: "one row: how far the events of all accounts have their positions",
};

/**
 * Afterwards every table for records, which are all empty, is partitioned on the account, as a database that is spread over several
 * machines would have it: with the same columns, keys and indexes, and without a change to the code.
 */
export async function partitionByAccount(db: Database): Promise<string[]> {
  const tables = await recordTables(db);
  for (const table of tables) {
    const parts = Array.from(
      { length: PARTITIONS },
      (_, n) =>
        `create table "${table}_${n}" partition of "${table}" for values with (modulus ${PARTITIONS}, remainder ${n});`,
    );
    await db.execute(`
      alter table "${table}" rename to "${table}_plain";
      create table "${table}" (like "${table}_plain" including all) partition by hash (account_id);
      ${parts.join("\n")}
      drop table "${table}_plain";`);
  }
  return tables;
}

async function recordTables(db: Database): Promise<string[]> {
  const rows = await db.execute<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'",
  );
  return rows.map(({ name }) => name).filter((name) => !(name in NOT_PARTITIONED));
}

/** A statement as it reached the database. */
export interface Sent {
  text: string;
  values: readonly unknown[];
}

/** Keeps every statement of the stores that reaches the database from now on, inside transactions and outside. */
export function recordStatements(db: Database): Sent[] {
  const sent: Sent[] = [];
  const recording =
    <Answer>(original: (text: string, values: readonly unknown[]) => Answer) =>
    (text: string, values: readonly unknown[] = []) => {
      sent.push({ text, values });
      return original(text, values);
    };
  const { transaction } = db;
  // Statements outside of transactions are sent by tests and commands.
  db.send = recording(db.send.bind(db));
  db.transaction = (work, deadline) =>
    transaction.call(
      db,
      (tx) => work({ send: recording(tx.send), execute: recording(tx.execute) as Executor["execute"] }),
      deadline,
    ) as ReturnType<typeof work>;
  return sent;
}

/**
 * Finds the statements that touch more than one account's partition, according to their plans for the values that they
 * were sent with, and those that insert into tables whose key does not begin with the account.
 */
export async function acrossAccounts(db: Database, tables: string[], sent: Sent[]): Promise<string[]> {
  const names = new RegExp(`\\b(${tables.join("|")})\\b`);
  const distinct = new Map(sent.map((statement) => [statement.text, statement]));
  const found: string[] = [];
  for (const { text, values } of distinct.values()) {
    if (!names.test(text)) continue;
    const [[plan] = []] = await db.send(`explain (format json) ${text}`, values);
    const relations = JSON.stringify(plan).matchAll(/"Relation Name":\s*"\w+?_(\d+)"/g);
    const partitions = new Set([...relations].map(([, number]) => number));
    const inserts = [...text.matchAll(/\binsert into "?(\w+)"?(?: as \w+)?\s*(\(\s*"?account_id\b)?/gi)];
    const strays = inserts.filter(([, table = "", account]) => tables.includes(table) && !account);
    if (strays.length > 0 || partitions.size > 1 || (partitions.size === 0 && inserts.length === 0)) {
      found.push(text);
    }
  }
  return found;
}
