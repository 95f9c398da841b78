import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Executor } from "../../src/db/client.ts";
import { sealOnce, startSealer } from "../../src/ledger/seal.ts";
import { writeEntries } from "../../src/ledger/store.ts";
import { findNewEvents, look } from "../../src/ledger/unsealed-store.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createTestDatabase, joinTestDatabase } from "../support/database.ts";
import { faultsOf, sealAll, sealedEvents, writeEvents } from "../support/ledger.ts";
import { createRecord, goodInput } from "../support/records.ts";

const silent = { warn: () => {}, error: () => {} };
let database: Awaited<ReturnType<typeof createTestDatabase>>;
let sql: postgres.Sql;

beforeEach(async () => {
  database = await createTestDatabase();
  sql = postgres(database.url, { max: 20, onnotice: () => {} });
});
afterEach(async () => {
  await sql.end({ timeout: 1 });
  await database.drop();
});

/** A transaction of another client, as `writeEvents` takes it. */
const on = (tx: postgres.TransactionSql | postgres.ReservedSql) => ({
  execute: (async (text: string, values: unknown[] = []) =>
    tx.unsafe(text, values as never[])) as Executor["execute"],
});
const names = (from: number, count: number, prefix = "r") =>
  Array.from({ length: count }, (_, n) => `${prefix}${from + n}`);
const requestsOf = async (account: string) =>
  (await sealedEvents(database.db, account)).map(({ requestId }) => requestId);

test("events get the positions 0, 1, 2 … of their account, in their order, and the tree contains their leaves", async () => {
  await writeEvents(database.db, "acme", names(0, 3));
  await writeEvents(database.db, "globex", names(0, 2), "a reason");
  await sealAll(database.db);
  await writeEvents(database.db, "acme", names(3, 600), "another");
  await sealAll(database.db);
  expect(await requestsOf("acme")).toEqual(names(0, 603));
  expect(await requestsOf("globex")).toEqual(names(0, 2));
  expect(await faultsOf(database.db)).toEqual([]);
  expect(await database.db.execute("select from ledger_nodes where level = 8")).toHaveLength(2);
});

test("batches are bounded, and what is left is found by the next one", async () => {
  await writeEvents(database.db, "acme", names(0, 25));
  await writeEvents(database.db, "globex", names(0, 8));
  await sealAll(database.db, 7);
  expect(await requestsOf("acme")).toEqual(names(0, 25));
  expect(await faultsOf(database.db)).toEqual([]);
});

test("nothing is written if there is nothing to seal", async () => {
  await writeEvents(database.db, "acme", names(0, 3));
  await sealAll(database.db);
  const rows = () => database.db.execute("select xmin::text, turn::text from ledger_progress");
  const before = await rows();
  for (let n = 0; n < 3; n++) expect(await sealOnce(database.db)).toBe("idle");
  expect(await rows()).toEqual(before);
});

test("an open transaction holds back its own events and no others, and its events come once it commits", async () => {
  const tx = await sql.reserve();
  await tx`begin`;
  await writeEvents(on(tx), "acme", ["early"]);
  for (let n = 0; n < 5; n++) {
    await writeEvents(database.db, "acme", [`r${n}`]);
    await sealAll(database.db);
  }
  expect(await requestsOf("acme")).toEqual(names(0, 5));
  await tx`commit`;
  await sealAll(database.db);
  expect(await requestsOf("acme")).toEqual([...names(0, 5), "early"]);
  tx.release();
});

test("of two changes of one record the later one has the higher position, though its transaction began first", async () => {
  const [first, second] = [await sql.reserve(), await sql.reserve()];
  await second`begin`;
  await second`select pg_current_xact_id()`;
  await first`begin`;
  await first`select pg_current_xact_id()`;
  await writeEvents(on(first), "acme", ["r0"]);
  await first`commit`;
  await writeEvents(on(second), "acme", ["r1"]);
  await second`commit`;
  await sealAll(database.db, 1);
  expect(await requestsOf("acme")).toEqual(["r0", "r1"]);
  first.release();
  second.release();
});

test("events of transactions that are rolled back leave no gap", async () => {
  for (let n = 0; n < 4; n++) {
    await sql
      .begin(async (tx) => {
        await writeEvents(on(tx), "acme", ["never"]);
        throw new Error("no");
      })
      .catch(() => {});
    await writeEvents(database.db, "acme", [`r${n}`]);
    if (n % 2) await sealAll(database.db);
  }
  expect(await requestsOf("acme")).toEqual(names(0, 4));
  expect(await faultsOf(database.db)).toEqual([]);
});

test("a sealer that was overtaken, for however long it had stopped, writes nothing", async () => {
  await sealAll(database.db);
  await writeEvents(database.db, "acme", names(0, 3));
  const found = await look(database.db);
  const [event] = await findNewEvents(database.db, found, 1);
  await sealAll(database.db);
  const entry = {
    ...{ accountId: "acme", position: 3, sequence: event?.sequence ?? 0, leafHash: Buffer.alloc(32) },
    ...{
      tokenNameSalt: Buffer.alloc(16),
      actorSalt: null,
      actorHash: null,
      reasonSalt: null,
      reasonHash: null,
    },
  };
  const written = { entries: [entry], nodes: [], heads: [{ accountId: "acme", size: 4, hashes: [] }] };
  expect(await writeEntries(database.db, found.progress, written)).toBe(false);
  expect(await faultsOf(database.db)).toEqual([]);
});

test("an entry that would give an event a second position, or a position to a second event, fails as a whole", async () => {
  await writeEvents(database.db, "acme", names(0, 2));
  await sealAll(database.db);
  const { progress } = await look(database.db);
  const [{ sequence } = { sequence: 0 }] = await database.db.execute<{ sequence: number }>(
    "select sequence::float8 from ledger_entries where position = 0",
  );
  const write = (position: number, of: number) => {
    const entry = {
      ...{ accountId: "acme", position, sequence: of, leafHash: Buffer.alloc(32) },
      ...{
        tokenNameSalt: Buffer.alloc(16),
        actorSalt: null,
        actorHash: null,
        reasonSalt: null,
        reasonHash: null,
      },
    };
    return writeEntries(database.db, progress, { entries: [entry], nodes: [], heads: [] });
  };
  await expect(write(2, sequence)).rejects.toMatchObject({ code: "23505" });
  await expect(write(1, sequence + 1000)).rejects.toMatchObject({ code: "23505" });
  expect(await faultsOf(database.db)).toEqual([]);
  expect((await look(database.db)).progress).toEqual(progress);
});

describe("events of an earlier release", () => {
  const writeOld = (account: string, rows: readonly [at: string, requestId: string][]) =>
    database.db.execute(
      `insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields, written_in)
       select $1, at::timestamptz, 't', 'n', 'graphql', request, 'created', '{k}', '{}', null
       from unnest($2::text[], $3::text[]) as given(at, request)`,
      [account, rows.map(([at]) => at), rows.map(([, id]) => id)],
    );

  test("get positions in order of time, then of sequence, before newer ones get theirs", async () => {
    await writeOld("globex", [["2026-01-01T00:00:00Z", "g0"]]);
    await writeOld("acme", [
      ["2026-01-02T00:00:00Z", "o2"],
      ["2026-01-01T00:00:00Z", "o0"],
      ["2026-01-02T00:00:00Z", "o3"],
      ["2026-01-01T12:00:00.001Z", "o1"],
    ]);
    await writeEvents(database.db, "acme", ["r0"]);
    await sealAll(database.db);
    expect(await requestsOf("acme")).toEqual(["o0", "o1", "o2", "o3", "r0"]);
    expect(await requestsOf("globex")).toEqual(["g0"]);
    expect(await faultsOf(database.db)).toEqual([]);
  });

  test("get them in batches that any replica continues, while others write", async () => {
    const old = Array.from({ length: 50 }, (_, n): [string, string] => [
      new Date(Date.UTC(2026, 0, 1) + (n % 7)).toISOString(),
      `o${n}`,
    ]);
    for (const account of ["a", "b", "c"]) await writeOld(account, old);
    const replicas = await Promise.all([1, 2, 3].map(() => joinTestDatabase(database.url)));
    for (let n = 0; n < 10; n++) {
      await writeEvents(database.db, "b", [`r${n}`]);
      await Promise.all(replicas.map(({ db }) => sealOnce(db, 11)));
    }
    await sealAll(database.db, 11);
    const byTime = old.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, id]) => id);
    expect(await requestsOf("a")).toEqual(byTime);
    expect(await requestsOf("b")).toEqual([...byTime, ...names(0, 10)]);
    expect(await faultsOf(database.db)).toEqual([]);
    for (const replica of replicas) await replica.drop();
  });
});

test("a dump that is restored into another server, whose transactions have other numbers, loses no event", async () => {
  await writeEvents(database.db, "acme", names(0, 3));
  await sealAll(database.db);
  await writeEvents(database.db, "acme", ["r3"]);
  // As the other server had numbered them: the last one without a position, and one that was open.
  await database.db.execute(`
    update audit_events set written_in = '900000000'::xid8 where request_id = 'r3';
    update audit_events set written_in = '899999000'::xid8 where request_id <> 'r3';
    update ledger_progress set next_transaction = '899999999', open_transactions = '{899999990}'`);
  await writeEvents(database.db, "acme", ["r4"]);
  await database.db.execute("update audit_events set written_in = '899999990'::xid8 where request_id = 'r4'");
  await writeEvents(database.db, "acme", ["r5"]);
  await sealAll(database.db);
  expect(await requestsOf("acme")).toEqual(names(0, 6));
  await writeEvents(database.db, "acme", ["r6"]);
  await sealAll(database.db);
  expect(await requestsOf("acme")).toEqual(names(0, 7));
  expect(await faultsOf(database.db)).toEqual([]);
});

test("three replicas seal what writers commit whose transactions stay open, roll back or die, and a reader by position misses nothing", async () => {
  const replicas = await Promise.all([1, 2, 3].map(() => joinTestDatabase(database.url)));
  const stops = replicas.map(({ db }) => startSealer({ db, log: silent }));
  const accounts = ["acme", "globex", "initech"];
  const committed = new Map(accounts.map((account) => [account, new Set<string>()]));
  let written = 0;
  const writer = async (until: number) => {
    while (performance.now() < until) {
      const account = accounts[Math.floor(Math.random() * accounts.length)] as string;
      const ids = names(0, 1 + Math.floor(Math.random() * 3), `w${written++}-`);
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
    // Those that are under way at that moment, and those that only keep their connection.
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

describe("the events that the gateway writes", () => {
  let gateway: TestApp;
  beforeAll(async () => {
    gateway = await createTestApp();
  });
  afterAll(() => gateway.close());

  test("are sealed, and neither leaves nor salts change what the trail shows", async () => {
    const token = await gateway.token("acme", [
      "kyc:read",
      "kyc:write",
      "kyc:delete",
      "kyc:pii",
      "audit:read",
    ]);
    const id = await createRecord(gateway, token, goodInput);
    await gateway.rest(token, "PUT", `/v1/kyc/${id}`, { form: { verification_status: "verified" } });
    await gateway.rest(token, "DELETE", `/v1/kyc/${id}`);
    await sealAll(gateway.db);
    expect(await faultsOf(gateway.db)).toEqual([]);
    expect(await sealedEvents(gateway.db, "acme")).toHaveLength(3);
    const { data } = await gateway.graphql(token, "{ auditEvents { nodes { action } } }");
    expect(data.auditEvents.nodes.map(({ action }: { action: string }) => action)).toEqual([
      "DELETED",
      "UPDATED",
      "CREATED",
    ]);
  });
});
