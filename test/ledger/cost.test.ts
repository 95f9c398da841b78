import { afterAll, beforeAll, expect, test } from "vitest";
import { look } from "../../src/ledger/find-work.ts";
import { sealOnce } from "../../src/ledger/seal.ts";
import { createTestDatabase, joinTestDatabase } from "../support/database.ts";
import { plainDigests, sealAll, writeEvents } from "../support/ledger.ts";
import { recordStatements } from "../support/partitions.ts";

const LARGE = 30_000;
let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
  // As after a fast import: no statistics say how large the tables are, or what is in them.
  for (const table of ["audit_events", "audit_event_records", "ledger_entries"])
    await database.db.execute(`alter table ${table} set (autovacuum_enabled = false)`);
  await writeEvents(
    database.db,
    "small",
    Array.from({ length: 10 }, (_, n) => `s${n}`),
  );
  await sealAll(database.db);
});
afterAll(() => database.drop());

/** An account's log of many events; only its leaves and the tree are not those of the events. */
async function makeLarge(account: string, writtenIn: string): Promise<void> {
  await database.db.execute(
    `with event as (
       insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields, written_in)
       select $1, now(), 't', 'n', 'rest', n, 'created', '{k}', '{}', ${writtenIn} from generate_series(1, $2::int) as n
       returning account_id, sequence
     )
     insert into ledger_entries (account_id, position, sequence, leaf_hash, token_name_salt)
     select account_id, row_number() over () - 1, sequence, '\\x00', '\\x00' from event`,
    [account, LARGE],
  );
  await database.db.execute("insert into ledger_heads values ($1, $2, '\\x')", [account, 2 ** 15]);
}

interface Plan {
  "Node Type": string;
  "Relation Name"?: string;
  "Shared Hit Blocks": number;
  "Shared Read Blocks": number;
  Plans?: Plan[];
}

/** The pages that the sealer's statements read to seal one event of an account, and the tables that they read as a whole. */
async function costOf(account: string): Promise<{ pages: number; scanned: string[] }> {
  await writeEvents(database.db, account, ["r"]);
  const recorded = await joinTestDatabase(database.url);
  const sent = recordStatements(recorded.db);
  // Another transaction is open at each look, as usual.
  const others = await joinTestDatabase(database.url);
  let pages = 0;
  const scanned: string[] = [];
  const add = (plan: Plan) => {
    const table = plan["Relation Name"] ?? "";
    if (plan["Node Type"] === "Seq Scan" && /^audit_|_entries$/.test(table)) scanned.push(table);
    plan.Plans?.forEach(add);
  };
  await others.db.transaction(async (tx) => {
    await tx.execute("select pg_current_xact_id()");
    const explainAll = async (run: () => Promise<unknown>) => {
      sent.length = 0;
      await run();
      for (const { text, values } of [...sent]) {
        await database.db
          .transaction(async (on) => {
            const [[rows] = []] = await on.send(`explain (analyze, buffers, format json) ${text}`, values);
            const [{ Plan: plan }] = (typeof rows === "string" ? JSON.parse(rows) : rows) as [{ Plan: Plan }];
            pages += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
            add(plan);
            throw new Error("rolled back");
          })
          .catch((error) => expect(error.message).toBe("rolled back"));
      }
    };
    const limit = 100;
    await explainAll(() => sealOnce(recorded.db, plainDigests, limit));
    expect(sent.length).toBeGreaterThan(2);
    await explainAll(() => sealOnce(recorded.db, plainDigests, limit));
  });
  await recorded.drop();
  await others.drop();
  return { pages, scanned };
}

test("events of many accounts at once, as after a rotation of a key, are read with each account's head once", async () => {
  const accounts = 1500;
  const writeOne = () =>
    database.db.execute(
      `insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
       select 'of-many-' || n, now(), 't', 'n', 'rest', 'r', 'updated', '{}', '{}' from generate_series(1, $1::int) as n`,
      [accounts],
    );
  await writeOne();
  await sealAll(database.db);
  await writeOne();
  const recorded = await joinTestDatabase(database.url);
  const sent = recordStatements(recorded.db);
  expect((await look(recorded.db, 2 * accounts)).events).toHaveLength(accounts);
  const [{ text, values } = { text: "", values: [] }] = sent;
  const rows = await database.db.transaction((on) => on.send(text, values));
  const size = JSON.stringify(rows).length;
  expect(size).toBeGreaterThan(accounts * 100);
  expect(size).toBeLessThan(accounts * 1000);
  await recorded.drop();
});

test("an event of an account with many costs what one of an account with ten costs, also before the tables are analyzed", async () => {
  // Each transaction that is open on the server, as of other tests, costs some pages.
  const most = (await costOf("small")).pages + 150;
  await makeLarge("large", "null");
  await makeLarge("larger", "pg_current_xact_id()");
  await sealAll(database.db);
  const large = await costOf("larger");
  expect(large.scanned).toEqual([]);
  expect(large.pages).toBeLessThan(most);
  expect((await costOf("small")).pages).toBeLessThan(most);
});
