import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { afterEach, beforeEach, expect, test } from "vitest";
import { migrate } from "../../../src/db/migrating/migrate.ts";
import { findPending, isMigrated } from "../../../src/db/migrating/pending.ts";
import { createTestDatabase } from "../../support/database.ts";
import { FUTURE_INDEX, futureMigrations } from "../../support/future-migration.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
let sql: postgres.Sql;

beforeEach(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { onnotice: () => {} });
});
afterEach(async () => {
  await sql.end({ timeout: 1 });
  await database.drop();
});

const future = futureMigrations({
  statements: ['ALTER TABLE "kycs" ADD COLUMN "note" text'],
  concurrentIndexes: [FUTURE_INDEX],
});
const insert = (client: postgres.Sql | postgres.TransactionSql, id: string) =>
  client`insert into kycs values ('acme', ${id}, 'c', 'pending', 'visa', 'n', now(), now(), 1)`;
const stateOfIndex = async () => (await findPending(database.db, future)).indexes[0]?.state ?? "valid";

/** Keeps a transaction with a write to the records open until the returned function is called. */
async function holdWrite(): Promise<() => Promise<void>> {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let held = () => {};
  const holding = new Promise<void>((resolve) => {
    held = resolve;
  });
  const ended = sql.begin(async (tx) => {
    await insert(tx, "held");
    held();
    await released;
  });
  await holding;
  return async () => {
    release();
    await ended;
  };
}

const isBuilding = async () => {
  const [row] = await sql`select pid from pg_stat_activity
    where datname = current_database() and query like 'CREATE INDEX CONCURRENTLY%' and state = 'active'`;
  return row?.pid as number | undefined;
};

test("replicas that migrate an empty database at once all succeed, and each migration is applied once", async () => {
  await database.db.execute("drop schema public cascade; drop schema drizzle cascade; create schema public");
  expect(await isMigrated(database.db)).toBe(false);
  await Promise.all(Array.from({ length: 6 }, () => migrate({ url: database.url }, future)));
  const applied = await database.db.execute<{ hash: string; count: number }>(
    "select hash, count(*)::int from drizzle.__drizzle_migrations group by hash",
  );
  expect(applied.map(({ count }) => count)).toEqual(future.map(() => 1));
  expect(await isMigrated(database.db)).toBe(true);
  expect(await stateOfIndex()).toBe("valid");
});

test("what is pending is reported by name, until it is there", async () => {
  const before = await findPending(database.db, future);
  expect(before.migrations.map(({ name }) => name)).toEqual(["9999_future"]);
  expect(before.indexes).toEqual([{ ...FUTURE_INDEX, state: "missing" }]);
  await migrate({ url: database.url }, future);
  expect(await findPending(database.db, future)).toEqual({ migrations: [], indexes: [] });
  expect(await isMigrated(database.db)).toBe(true);
});

test("a migration that fails has done nothing, and those before it stay", async () => {
  const [good, bad] = [
    futureMigrations({ statements: ['ALTER TABLE "kycs" ADD COLUMN "note" text'] }).at(-1),
    futureMigrations({ statements: ['ALTER TABLE "kycs" ADD COLUMN "more" text', "select 1 / 0"] }).at(-1),
  ];
  if (!good || !bad) throw new Error("there is a future");
  const both = [good, { ...bad, name: "bad", createdAt: bad.createdAt + 1 }];
  await expect(migrate({ url: database.url }, both)).rejects.toMatchObject({ code: "22012" });
  const pending = await findPending(database.db, both);
  expect(pending.migrations.map(({ name }) => name)).toEqual(["bad"]);
  const columns = await sql`select column_name from information_schema.columns where table_name = 'kycs'`;
  expect(columns.map(({ column_name }) => column_name)).toContain("note");
  expect(columns.map(({ column_name }) => column_name)).not.toContain("more");
});

test("an index is built while its table is written, by one of several replicas, however long another's transaction lasts", async () => {
  await migrate({ url: database.url }, futureMigrations({ statements: future.at(-1)?.statements ?? [] }));
  const release = await holdWrite();
  const replicas = Promise.all(Array.from({ length: 4 }, () => migrate({ url: database.url }, future)));
  await expect.poll(isBuilding).toBeDefined();
  for (let n = 0; n < 20; n++) {
    const from = performance.now();
    await insert(sql, `written-${n}`);
    // An insert that had to wait for the index would wait until the other transaction ends, after all of them.
    expect(performance.now() - from).toBeLessThan(5000);
    await wait(20);
  }
  expect(await stateOfIndex()).toBe("invalid");
  await release();
  await replicas;
  expect(await stateOfIndex()).toBe("valid");
  const rows =
    await sql`select count(*)::int from pg_indexes where indexname like ${`${FUTURE_INDEX.name}%`}`;
  expect(rows[0]?.count).toBe(1);
});

test("an index whose building was cut short counts as not migrated, and the next start builds it anew", async () => {
  const release = await holdWrite();
  const columnFirst = migrate({ url: database.url }, futureMigrations({ concurrentIndexes: [FUTURE_INDEX] }));
  const outcome = columnFirst.then(
    () => "done",
    () => "failed",
  );
  await expect.poll(isBuilding).toBeDefined();
  await sql`select pg_terminate_backend(${(await isBuilding()) ?? 0})`;
  expect(await outcome).toBe("failed");
  expect(await stateOfIndex()).toBe("invalid");
  await release();
  await migrate({ url: database.url }, futureMigrations({ concurrentIndexes: [FUTURE_INDEX] }));
  expect(await stateOfIndex()).toBe("valid");
});

test("what a role is bounded by does not cut a migration short", async () => {
  const [row] = await sql`select current_database() as name`;
  for (const name of ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]) {
    await sql.unsafe(`alter database ${row?.name} set ${name} = '300ms'`);
  }
  await sql.unsafe(`alter database ${row?.name} set default_transaction_isolation = 'serializable'`);
  const release = await holdWrite();
  const migrated = migrate({ url: database.url }, futureMigrations({ concurrentIndexes: [FUTURE_INDEX] }));
  await expect.poll(isBuilding).toBeDefined();
  await wait(800);
  await release();
  await migrated;
  expect(await stateOfIndex()).toBe("valid");
});
