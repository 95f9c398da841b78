import { setTimeout as wait } from "node:timers/promises";
import { AppError } from "../../errors.ts";
import type { Database, Executor } from "../client.ts";
import { DatabaseError } from "../database-error.ts";
import { connect, type DatabaseAddress } from "../pool/pool.ts";
import { type Migration, ownMigrations } from "./migration-files.ts";
import { findPending, isNothing, lastApplied } from "./pending.ts";

/** A migration did not get its locks, however often it tried. */
export class MigrationBlockedError extends Error {
  override readonly name = "MigrationBlockedError";
}

const LOCK_KEY = 5_492_311_080;
/** How long to wait before another look whether the replica that migrates is done. Milliseconds. */
const LOOK_AGAIN = 100;
/** Tries of a step that does not get its locks, and the pauses between them, which grow: together below a minute. */
const TRIES = 10;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 5000;

/**
 * Read committed: between two statements the transaction holds no snapshot, and a concurrent index, which waits for
 * every older snapshot, does not wait for it. Behind a lock that a migration waits for, every later statement of the
 * serving gateways queues up: it may wait a second. The rest undoes what a role may be bounded by.
 */
const SETTINGS = `
  set transaction isolation level read committed;
  set local lock_timeout = '1s';
  set local statement_timeout = 0;
  set local idle_in_transaction_session_timeout = 0`;

const CREATE_REGISTRY = `
  create schema if not exists drizzle;
  create table if not exists drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint)`;

/**
 * Afterwards the database has all of these migrations, this release's own unless told, and their indexes are valid.
 * The gateways that serve it meanwhile go on: no statement of theirs waits for one of these longer than a second.
 * Several may call it at once: one does a step, the others wait for it. What was cut short is mended by the next call.
 * Fails with MigrationBlockedError where others keep a lock for most of a minute.
 */
export async function migrate(
  address: DatabaseAddress,
  migrations: readonly Migration[] = ownMigrations(),
): Promise<void> {
  // Two connections of its own: one holds the lock while the other builds an index.
  const db = connect({ address, poolSize: 2, prepare: false });
  try {
    const pending = await findPending(db, migrations);
    if (isNothing(pending)) return;
    for (const migration of pending.migrations) {
      await underLock(db, migration.name, (tx) => apply(tx, migration));
    }
    if ("socketPath" in address) await underLock(db, "the indexes", (tx) => buildInside(tx, migrations));
    else await underLock(db, "the indexes", () => buildBeside(db, migrations));
  } finally {
    await db.close();
  }
}

async function apply(tx: Executor, { createdAt, hash, statements }: Migration): Promise<void> {
  await tx.execute(CREATE_REGISTRY);
  if ((await lastApplied(tx)) >= createdAt) return;
  for (const statement of statements) await tx.execute(statement);
  await tx.execute("insert into drizzle.__drizzle_migrations (hash, created_at) values ($1, $2)", [
    hash,
    createdAt,
  ]);
}

/**
 * Builds what is missing, on a connection beside the transaction that keeps others from it, which sends nothing more:
 * even a finished statement with parameters would keep its snapshot until the next one.
 */
async function buildBeside(db: Database, migrations: readonly Migration[]): Promise<void> {
  const forever = Number.POSITIVE_INFINITY;
  // To build waits for transactions of others, and makes nobody wait. What a role is bounded by would cut it.
  await db.execute(
    `select set_config(name, '0', false) from pg_settings
     where name in ('lock_timeout', 'statement_timeout') and setting <> '0'`,
  );
  for (const { name, statement } of (await findPending(db, migrations)).indexes) {
    // What an interrupted building left never becomes valid.
    await db.execute(`drop index concurrently if exists "${name}"`, [], forever);
    await db.execute(statement, [], forever);
  }
}

/** In the embedded database a transaction keeps all others out: nobody would see the difference. */
async function buildInside(tx: Executor, migrations: readonly Migration[]): Promise<void> {
  for (const { name, statement } of (await findPending(tx, migrations)).indexes) {
    await tx.execute(`drop index if exists "${name}"`);
    await tx.execute(statement.replace(/ concurrently /i, " "));
  }
}

/**
 * Does `work` in a transaction that no other migrator has its like of at the same time, in any process, behind a
 * transaction pooler too. It polls for the lock: a statement that waits holds a snapshot, and the building of an index
 * by the one who has the lock would wait for that in turn.
 */
async function underLock(db: Database, step: string, work: (tx: Executor) => Promise<void>): Promise<void> {
  const tryOnce = async (tx: Executor) => {
    await tx.execute(SETTINGS);
    const [row] = await tx.execute<{ locked: boolean }>(
      `select pg_try_advisory_xact_lock(${LOCK_KEY}) as locked`,
    );
    if (row?.locked) await work(tx);
    return row?.locked ?? false;
  };
  for (let tries = 1, pause = FIRST_PAUSE; ; ) {
    try {
      if (await db.transaction(tryOnce, Number.POSITIVE_INFINITY)) return;
      await wait(LOOK_AGAIN);
    } catch (error) {
      if (!isForLocks(error)) throw error;
      if (tries === TRIES) throw blocked(step);
      tries += 1;
      await wait(pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  }
}

// A lock that was not had in time, and a deadlock.
const FOR_LOCKS = ["55P03", "40P01"];

function isForLocks(error: unknown): boolean {
  return (
    error instanceof AppError && error.cause instanceof DatabaseError && FOR_LOCKS.includes(error.cause.code)
  );
}

function blocked(step: string): MigrationBlockedError {
  return new MigrationBlockedError(
    `the migration (${step}) did not get its locks in ${TRIES} tries, and has changed nothing: another session ` +
      "keeps the tables locked, such as a long transaction or a pg_dump. Start again when it is over",
  );
}
