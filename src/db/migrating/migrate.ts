import { setTimeout as wait } from "node:timers/promises";
import { AppError } from "../../errors.ts";
import type { Database, Executor } from "../client.ts";
import { DatabaseError } from "../database-error.ts";
import { requireUtf8 } from "../encoding.ts";
import { connect } from "../pool/pool.ts";
import { type Migration, ownMigrations } from "./migration-files.ts";
import { findPending, isNothing, lastApplied } from "./pending.ts";

/** A migration could not get its locks after all its attempts. */
export class MigrationBlockedError extends Error {
  override readonly name = "MigrationBlockedError";
}

const LOCK_KEY = 5_492_311_080;
/** Interval at which we check whether another replica has finished migrating. */
const LOOK_AGAIN_MS = 100;
/** Attempts of a step that does not get its locks. The pauses between them grow and stay below a minute in total. */
const TRIES = 10;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;

/**
 * Under read committed, a transaction holds no snapshot between two statements, so building a concurrent index, which
 * waits for all older snapshots, does not wait for this transaction. While a migration waits for a lock, later statements
 * of serving gateways wait behind it, so it waits for at most one second. The other settings override limits of the role.
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
 * What to migrate: a server, through two connections of its own, or the embedded database, through this pool. A process that
 * has the embedded database open serves the pools of others until they end, but at its own end it accepts no new connection.
 */
export type MigrationTarget = { url: string } | { embedded: Database };

/**
 * Afterwards the database has all given migrations (default: this release's own), their indexes are valid, and the indexes
 * that they replace are dropped. Gateways keep serving meanwhile; none of their statements waits for a migration longer than
 * a second. Several processes can call this at once: one does a step, the others wait. A later call completes an interrupted
 * one. Fails with an EncodingError unless the database's encoding is UTF8, and with a MigrationBlockedError if others hold a
 * lock for most of a minute.
 */
export async function migrate(
  target: MigrationTarget,
  migrations: readonly Migration[] = ownMigrations(),
): Promise<void> {
  if ("embedded" in target)
    return migrateThrough(target.embedded, migrations, (tx) => buildInTransaction(tx, migrations));
  // One connection holds the lock while the other builds an index.
  const db = connect({ address: target, poolSize: 2, prepare: false });
  try {
    await migrateThrough(db, migrations, () => buildConcurrently(db, migrations));
  } finally {
    await db.close();
  }
}

async function migrateThrough(
  db: Database,
  migrations: readonly Migration[],
  buildIndexes: (tx: Executor) => Promise<void>,
): Promise<void> {
  await requireUtf8(db);
  const pending = await findPending(db, migrations);
  if (isNothing(pending)) return;
  for (const migration of pending.migrations) {
    await underLock(db, migration.name, (tx) => apply(tx, migration));
  }
  await underLock(db, "the indexes", buildIndexes);
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
 * Builds the missing indexes, and then drops those that they replace, on a second connection. The transaction that holds the
 * lock sends nothing in the meantime: even a finished statement with parameters would keep its snapshot until the next one.
 */
async function buildConcurrently(db: Database, migrations: readonly Migration[]): Promise<void> {
  const forever = Number.POSITIVE_INFINITY;
  // Building waits for other transactions but blocks none. Limits of the role would interrupt it.
  await db.execute(
    `select set_config(name, '0', false) from pg_settings
     where name in ('lock_timeout', 'statement_timeout') and setting <> '0'`,
  );
  const { indexes, obsolete } = await findPending(db, migrations);
  for (const { name, statement } of indexes) {
    // An index that an interrupted build left never becomes valid.
    await db.execute(`drop index concurrently if exists "${name}"`, [], forever);
    await db.execute(statement, [], forever);
  }
  for (const name of obsolete) await db.execute(`drop index concurrently if exists "${name}"`, [], forever);
}

/** In the embedded database a transaction excludes all others, so building concurrently would gain nothing. */
async function buildInTransaction(tx: Executor, migrations: readonly Migration[]): Promise<void> {
  const { indexes, obsolete } = await findPending(tx, migrations);
  for (const { name, statement } of indexes) {
    await tx.execute(`drop index if exists "${name}"`);
    await tx.execute(statement.replace(/ concurrently /i, " "));
  }
  for (const name of obsolete) await tx.execute(`drop index if exists "${name}"`);
}

/**
 * Does `work` in a transaction while no other process migrates; this also holds behind a transaction pooler. It polls for
 * the lock, because a statement that waits holds a snapshot, and the holder's index build would wait for that snapshot.
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
  for (let tries = 1, pause = FIRST_PAUSE_MS; ; ) {
    try {
      if (await db.transaction(tryOnce, Number.POSITIVE_INFINITY)) return;
      await wait(LOOK_AGAIN_MS);
    } catch (error) {
      if (!isForLocks(error)) throw error;
      if (tries === TRIES) throw blocked(step);
      tries += 1;
      await wait(pause);
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }
}

// Lock timeout and deadlock.
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
