import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startSealer } from "../../src/ledger/seal.ts";
import { createTestDatabase, joinTestDatabase } from "../support/database.ts";
import { faultsOf, plainDigests, writeEvents } from "../support/ledger.ts";

const silent = { warn: () => {}, error: () => {} };
const names = (count: number, prefix: string) => Array.from({ length: count }, (_, n) => `${prefix}${n}`);
let database: Awaited<ReturnType<typeof createTestDatabase>>;
let sql: postgres.Sql;
beforeAll(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { max: 4, onnotice: () => {} });
});
afterAll(async () => {
  await sql.end({ timeout: 1 });
  await database.drop();
});

test("three replicas seal what writers commit whose transactions stay open, roll back or die, and a reader by position misses nothing", async () => {
  const replicas = await Promise.all([1, 2, 3].map(() => joinTestDatabase(database.url)));
  const stops = replicas.map(({ db }) => startSealer({ db, openDigests: plainDigests, log: silent }));
  const accounts = ["acme", "globex", "initech"];
  const committed = new Map(accounts.map((account) => [account, new Set<string>()]));
  let written = 0;
  const writer = async (until: number) => {
    while (performance.now() < until) {
      const account = accounts[Math.floor(Math.random() * accounts.length)] as string;
      const ids = names(1 + Math.floor(Math.random() * 3), `w${written++}-`);
      const fate = Math.random();
      await database.db
        .transaction(async (tx) => {
          await writeEvents(tx, account, ids);
          if (Math.random() < 0.3) await wait(Math.random() * 200);
          if (fate < 0.15) throw new Error("rolled back");
          if (fate < 0.2) await tx.execute("select pg_terminate_backend(pg_backend_pid())");
        })
        .then(() => {
          for (const id of ids) committed.get(account)?.add(id);
        })
        .catch((error) => expect(fate, error).toBeLessThan(0.2));
      await wait(Math.random() * 10);
    }
  };
  const read = new Map(accounts.map((account) => [account, [] as string[]]));
  const reader = async (done: () => boolean) => {
    for (let last = false; !last; ) {
      last = done();
      for (const account of accounts) {
        const seen = read.get(account) as string[];
        const rows = await database.db.execute<{ position: number; id: string }>(
          `select position::float8, request_id as id from ledger_entries join audit_events using (account_id, sequence)
           where account_id = $1 and position >= $2 order by position`,
          [account, seen.length],
        );
        for (const { position, id } of rows) {
          expect(position).toBe(seen.length);
          seen.push(id);
        }
      }
      await wait(15);
    }
  };
  let over = false;
  const reading = reader(() => over);
  const until = performance.now() + 4000;
  // Meanwhile somebody holds the progress for a while, and sealers lose their connections.
  const trouble = (async () => {
    await wait(1000);
    await sql.begin(async (tx) => {
      await tx`select from ledger_progress for update`;
      await wait(500);
    });
    // Those that are in progress at that moment, and those that only keep their connection.
    for (let n = 0; n < 5; n++) {
      await sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and query like '%ledger_progress%' and pid <> pg_backend_pid()`;
      await wait(300);
    }
  })();
  await Promise.all([...Array.from({ length: 8 }, () => writer(until)), trouble]);
  const total = () => accounts.reduce((sum, account) => sum + (committed.get(account)?.size ?? 0), 0);
  await expect
    .poll(async () => (await database.db.execute("select from ledger_entries")).length, { timeout: 5000 })
    .toBe(total());
  over = true;
  await reading;
  await Promise.all(stops.map((stop) => stop()));
  for (const account of accounts) {
    expect(new Set(read.get(account))).toEqual(committed.get(account));
    expect(read.get(account)).toHaveLength(committed.get(account)?.size ?? 0);
  }
  expect(await faultsOf(database.db)).toEqual([]);
  for (const replica of replicas) await replica.drop();
});
