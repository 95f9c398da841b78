import postgres from "postgres";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Executor } from "../../src/db/client.ts";
import { look } from "../../src/ledger/find-work.ts";
import { sealOnce } from "../../src/ledger/seal.ts";
import { writeEntries } from "../../src/ledger/store.ts";
import { findNewEvents } from "../../src/ledger/unsealed-store.ts";
import { createTestApp, type TestApp } from "../support/app.ts";
import { createTestDatabase, joinTestDatabase } from "../support/database.ts";
import { faultsOf, plainDigests, sealAll, sealedEvents, writeEvents } from "../support/ledger.ts";
import { createRecord, goodInput } from "../support/records.ts";

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
  await writeEvents(database.db, "globex", names(0, 2), { reason: "a reason" });
  await sealAll(database.db);
  await writeEvents(database.db, "acme", names(3, 600), { reason: "another" });
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

test("a transaction with more events than a batch is read once, also if it was open while others committed", async () => {
  await sealAll(database.db);
  const tx = await sql.reserve();
  await tx`begin`;
  await writeEvents(on(tx), "acme", names(0, 40));
  await writeEvents(database.db, "globex", names(0, 23));
  await sealAll(database.db, 7);
  await writeEvents(on(tx), "acme", names(40, 5));
  await tx`commit`;
  const read: number[] = [];
  for (let turn = 0; turn < 20; turn++) {
    const { events } = await look(database.db, 7);
    read.push(...events.map(({ sequence }) => sequence));
    await sealOnce(database.db, plainDigests, 7);
  }
  expect(read).toHaveLength(45);
  expect(new Set(read).size).toBe(45);
  expect(await requestsOf("acme")).toEqual(names(0, 45));
  expect(await requestsOf("globex")).toEqual(names(0, 23));
  expect(await faultsOf(database.db)).toEqual([]);
  tx.release();
});

test("transactions are in the order of their numbers, and not of the digits", async () => {
  await sealAll(database.db);
  await writeEvents(database.db, "acme", names(0, 30));
  await database.db.execute(
    `update audit_events set written_in = case when request_id in ('r0', 'r1', 'r2') then '9' else '10' end::xid8`,
  );
  await database.db.execute("update ledger_progress set next_transaction = '8', open_transactions = '{}'");
  await sealAll(database.db, 7);
  expect(await requestsOf("acme")).toEqual(names(0, 30));
});

test.each(["0", "-9223372036854775808", "9007199254740992", "9223372036854775807"])(
  "an event whose writer chose the sequence %s is refused, and the others get positions",
  async (sequence) => {
    await writeEvents(database.db, "acme", names(0, 2));
    const chosen = database.db.execute(
      `insert into audit_events (account_id, sequence, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
       overriding system value values ('globex', $1, now(), 't', 't', 'rest', 'r', 'created', '{k}', '{}')`,
      [sequence],
    );
    await expect(chosen).rejects.toMatchObject({ constraint: "audit_events_sequence_is_exact" });
    await sealAll(database.db);
    expect(await requestsOf("acme")).toEqual(names(0, 2));
  },
);

test("nothing is written if there is nothing to seal", async () => {
  await writeEvents(database.db, "acme", names(0, 3));
  await sealAll(database.db);
  const rows = () => database.db.execute("select xmin::text, turn::text from ledger_progress");
  const before = await rows();
  for (let n = 0; n < 3; n++) expect(await sealOnce(database.db, plainDigests)).toBe("idle");
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
  const found = await look(database.db, 1);
  const {
    events: [event],
  } = await findNewEvents(database.db, found, 1);
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
  const written = {
    entries: [entry],
    nodes: [],
    customers: [],
    heads: [{ accountId: "acme", size: 4, hashes: [] }],
  };
  expect(await writeEntries(database.db, found.progress, written)).toBe(false);
  expect(await faultsOf(database.db)).toEqual([]);
});

test("an entry that would give an event a second position, or a position to a second event, fails as a whole", async () => {
  await writeEvents(database.db, "acme", names(0, 2));
  await sealAll(database.db);
  const { progress } = await look(database.db, 1);
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
    return writeEntries(database.db, progress, { entries: [entry], nodes: [], customers: [], heads: [] });
  };
  await expect(write(2, sequence)).rejects.toMatchObject({ code: "23505" });
  await expect(write(1, sequence + 1000)).rejects.toMatchObject({ code: "23505" });
  expect(await faultsOf(database.db)).toEqual([]);
  expect((await look(database.db, 1)).progress).toEqual(progress);
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

  test("keep theirs if the progress is lost, and what is written since gets its own", async () => {
    await writeOld("acme", [
      ["2026-01-01T00:00:00Z", "o0"],
      ["2026-01-02T00:00:00Z", "o1"],
    ]);
    await writeEvents(database.db, "acme", ["r0"]);
    await sealAll(database.db);
    await database.db.execute("delete from ledger_progress");
    await writeEvents(database.db, "acme", ["r1"]);
    await sealAll(database.db);
    expect(await requestsOf("acme")).toEqual(["o0", "o1", "r0", "r1"]);
    expect(await faultsOf(database.db)).toEqual([]);
  });

  test("get them in batches that any replica continues if another one dies, while others write", async () => {
    const old = Array.from({ length: 50 }, (_, n): [string, string] => [
      new Date(Date.UTC(2026, 0, 1) + (n % 7)).toISOString(),
      `o${n}`,
    ]);
    for (const account of ["a", "b", "c"]) await writeOld(account, old);
    const replicas = await Promise.all([1, 2, 3].map(() => joinTestDatabase(database.url)));
    for (let n = 0; n < 10; n++) {
      await writeEvents(database.db, "b", [`r${n}`]);
      // A replica's connection can be lost at any moment: whatever it was doing is done as a whole, or not at all.
      const killed = sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and query like '%old_sequence%' and state = 'active' and pid <> pg_backend_pid()`;
      await Promise.allSettled([
        ...replicas.map(({ db }) => sealOnce(db, plainDigests, 11)),
        n % 2 ? killed : null,
      ]);
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

test("with a backlog of many transactions, changes of each record keep their order, however small the batches are", async () => {
  for (let run = 0; run < 6; run++) {
    const clients = await Promise.all(Array.from({ length: 8 }, () => sql.reserve()));
    /** The record that each open transaction has locked; null: it has its number, and no record yet. */
    const locked = new Map<postgres.ReservedSql, string | null>();
    for (let n = 0; n < 200; n++) {
      const tx = clients[Math.floor(Math.random() * clients.length)] as postgres.ReservedSql;
      const kycId = `k${Math.floor(Math.random() * 4)}`;
      if (!locked.has(tx)) {
        await tx`begin`;
        await tx`select pg_current_xact_id()`;
        locked.set(tx, null);
      } else if (locked.get(tx) !== null) {
        await tx.unsafe(Math.random() < 0.2 ? "rollback" : "commit");
        locked.delete(tx);
      } else if (![...locked.values()].includes(kycId)) {
        await writeEvents(on(tx), "acme", [`${run}-${n}`], { kycId });
        locked.set(tx, kycId);
      }
      if (n > 120 && n % 10 === 0)
        await sealOnce(database.db, plainDigests, 1 + Math.floor(Math.random() * 6));
    }
    for (const tx of locked.keys()) await tx`commit`;
    for (const client of clients) client.release();
    if (run % 2 === 1) await sealAll(database.db, 5);
  }
  const misplaced = await database.db.execute(`
    select * from (
      select sequence, lag(sequence) over (partition by kyc_id order by position) as earlier
      from ledger_entries join audit_event_records using (account_id, sequence)
    ) as history where earlier > sequence`);
  expect(misplaced).toEqual([]);
  expect(await faultsOf(database.db)).toEqual([]);
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
