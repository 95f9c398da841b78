import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { findEvents } from "../../../src/changes/store.ts";
import type { Connection } from "../../../src/db/pool/connection.ts";
import { connect } from "../../../src/db/pool/pool.ts";
import { renewPlans } from "../../../src/db/pool/renew-plans.ts";
import { createTestDatabase } from "../../support/database.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
  await database.db.execute(
    "alter table audit_events set (autovacuum_enabled = off); alter table ledger_entries set (autovacuum_enabled = off)",
  );
});
afterEach(() => void vi.restoreAllMocks());
afterAll(() => database.drop());

/** Makes the account's log as long. */
const fill = (size: number) =>
  database.db.execute(`
    with event as (
      insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
        select 'acme', now() + g * interval '1 s', 't', 't', 'rest', 'r', 'read', '{a}', '{}'
        from generate_series((select count(*) from ledger_entries), ${size - 1}) g
      returning sequence
    )
    insert into ledger_entries (account_id, position, sequence, leaf_hash, token_name_salt)
      select 'acme', row_number() over (order by sequence) + (select count(*) from ledger_entries) - 1, sequence, '', '' from event`);

test("a statement that was planned for a few rows reads no more than its rows soon after there are many", async () => {
  // After five executions PostgreSQL chooses by its estimates whether to keep a plan. With few statements, they decide otherwise.
  const url = `${database.url}?options=-c%20plan_cache_mode%3Dforce_generic_plan`;
  const db = connect({ address: { url }, poolSize: 1, prepare: true });
  const readPage = () => findEvents(db, { accountId: "acme", from: 3800 });
  /** How many events the reading of a page fetches. */
  const fetched = async () => {
    const count = async () => {
      await db.execute("select pg_stat_force_next_flush()");
      const [row] = await database.db.execute<{ rows: number }>(
        "select idx_tup_fetch::int as rows from pg_stat_user_tables where relname = 'audit_events'",
      );
      return row?.rows ?? 0;
    };
    const before = await count();
    expect(await readPage()).toHaveLength(200);
    return (await count()) - before;
  };

  // A busy machine would take so long that the plans are renewed in between.
  const clock = vi.spyOn(performance, "now").mockReturnValue(performance.now());
  await fill(2);
  for (let index = 0; index < 10; index++) await readPage();
  await fill(4000);
  // Without a new plan, it would stay so: each of 200 look-ups reads all events.
  expect(await fetched()).toBeGreaterThan(200_000);
  clock.mockReturnValue(performance.now() + 1000);
  expect(await fetched()).toBe(200);
  await db.close();
});

test("plans are made anew after a second and whenever the session is three times as old, and as soon in the next session", () => {
  const sent: string[] = [];
  let now = 500;
  const client = {
    unsafe: async (text: string) => {
      sent.push(`${now} ${text}`);
      throw new Error("the connection was lost");
    },
  };
  const connection = { client, plans: { since: undefined, until: 0 } } as unknown as Connection;
  for (; now <= 90_000; now += 500) renewPlans(connection, now);
  const times = (beginning: number, ages: number[]) =>
    ages.map((age) => `${beginning + 1000 * age} discard plans`);
  expect(sent).toEqual(times(500, [1, 3, 9, 27, 81]));
  sent.length = 0;
  connection.plans.since = undefined;
  const again = now;
  for (; now < again + 10_000; now += 500) renewPlans(connection, now);
  expect(sent).toEqual(times(again, [1, 3, 9]));
});
