import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { byCommand } from "../../src/administration/record-act.ts";
import type { Executor } from "../../src/db/client.ts";
import type { FaultKind } from "../../src/ledger/fault.ts";
import { readCheckpoints } from "../../src/ledger/kept-checkpoints.ts";
import { findEntries, leafOf, type SealedEvent } from "../../src/ledger/sealed-events.ts";
import { findHead } from "../../src/ledger/sign-head.ts";
import { type LogKeys, openLogKeys, rotateSigningKey } from "../../src/ledger/signing-keys.ts";
import { append, emptyFrontier, hashLeaf, rootOf, type TreeHead } from "../../src/ledger/tree.ts";
import { verifyLog } from "../../src/ledger/verify-log.ts";
import { listLogAccounts } from "../../src/ledger/verify-store.ts";
import { Keyring } from "../../src/sealing/keyring.ts";
import { createTestDatabase } from "../support/database.ts";
import { sealAll, signAnyHead, writeEvents } from "../support/ledger.ts";

type TestDatabase = Awaited<ReturnType<typeof createTestDatabase>>;
const SIZE = 700;
const names = (from: number, count: number) => Array.from({ length: count }, (_, n) => `r${from + n}`);
let database: TestDatabase;
let kept: TreeHead[];

/** The transaction of a test, which is rolled back. */
let tx: Executor | undefined;
const db = () => tx ?? database.db;
const run = (sql: string, values: unknown[] = []) => db().execute(sql, values);
const verify = (heads: readonly TreeHead[] = kept, account = "acme") =>
  verifyLog({ db: db(), account, kept: heads, onStep: () => {} });
/** A test that leaves the tables as they are. */
const undone = <Values extends unknown[]>(work: (...values: Values) => Promise<void>) => {
  return async (...values: Values) => {
    const undo = new Error("undo");
    const done = database.db.transaction(async (one) => {
      tx = one;
      await work(...values);
      throw undo;
    });
    await done
      .catch((error) => {
        if (error !== undo) throw error;
      })
      .finally(() => {
        tx = undefined;
      });
  };
};
const headOf = async (): Promise<TreeHead> => {
  const head = await findHead(database.db, "acme");
  return { size: head.size, root: rootOf(head) };
};

beforeAll(async () => {
  database = await createTestDatabase();
  kept = [];
  for (let size = 0; size < SIZE; size += 100) {
    await writeEvents(database.db, "acme", names(size, 100), { reason: size === 300 ? "a reason" : null });
    await sealAll(database.db);
    kept.push(await headOf());
  }
  await writeEvents(database.db, "globex", names(0, 30));
  await sealAll(database.db);
});
afterAll(() => database.drop());
test("a log that is what was sealed has no fault, nor does an account without events", async () => {
  expect(await verify()).toBeUndefined();
  expect(await verify([], "globex")).toBeUndefined();
  expect(await verify([], "initech")).toBeUndefined();
  const accounts: string[] = [];
  for await (const account of listLogAccounts(database.db)) accounts.push(account);
  expect(accounts).toEqual(["acme", "globex"]);
});

/** Moves the entries from a position on. In two steps: no two may have one position even for a moment. */
const shift = (from: number, by: number) => `
  update ledger_entries set position = -1 - position where account_id = 'acme' and position >= ${from};
  update ledger_entries set position = -1 - position + ${by} where account_id = 'acme' and position < 0`;
const at = (position: number) =>
  `account_id = 'acme' and sequence = (select sequence from ledger_entries where account_id = 'acme' and position = ${position})`;
const swapEntries = (a: number, b: number, columns: string) => `
  update ledger_entries set ${columns} = -${columns} where account_id = 'acme' and position in (${a}, ${b});
  update ledger_entries entry set ${columns} = (
    select -${columns} from ledger_entries other where account_id = 'acme' and other.position = ${a} + ${b} - entry.position)
  where account_id = 'acme' and entry.position in (${a}, ${b})`;

/** Inserts an event as if it had been written before positions were introduced. */
const insertOld = (sequence: string) => `
  insert into audit_events (sequence, account_id, at, token_id, token_name, surface, request_id, action, kyc_ids,
    changed_fields, written_in) overriding system value
  values (${sequence}, 'acme', '2001-01-01', 't', 'n', 'rest', 'q', 'created', '{}', '{}', null)`;

interface Tampering {
  name: string;
  sql: string;
  kind: FaultKind;
  position: number | null;
  says?: string;
}

const TAMPERINGS: Tampering[] = [
  ...[
    "status_after = 'verified'",
    "status_before = null",
    "token_id = 'tok_2'",
    "token_name = 'another'",
    "request_id = 'r0'",
    "action = 'created'",
    "other_action = 'token_revoked'",
    "surface = 'graphql'",
    "at = at + interval '1 ms'",
    "kyc_ids = '{k2}'",
    "kyc_ids = '{}'",
    "changed_fields = '{}'",
    "subject = 'tok_9'",
    "document_type_after = 'visa'",
    "version_after = 7",
  ].map(
    (change): Tampering => ({
      name: `an event with ${change}`,
      sql: `update audit_events set ${change} where ${at(345)}`,
      kind: "altered",
      position: 345,
    }),
  ),
  {
    name: "another reason",
    sql: `update audit_events set reason = 'a better one' where ${at(345)}`,
    ...{ kind: "altered", position: 345, says: "reason" },
  },
  {
    name: "a reason that was removed without its salt",
    sql: `update audit_events set reason = null where ${at(345)}`,
    ...{ kind: "altered", position: 345, says: "salt" },
  },
  {
    name: "a reason that was added",
    sql: `update audit_events set reason = 'because' where ${at(5)}`,
    ...{ kind: "altered", position: 5 },
  },
  {
    name: "a name of who signed in that was added",
    sql: `update audit_events set actor_name = 'Ann' where ${at(5)}`,
    ...{ kind: "altered", position: 5 },
  },
  {
    name: "a leaf's hash that was changed",
    sql: `update ledger_entries set leaf_hash = sha256('x') where account_id = 'acme' and position = 99`,
    ...{ kind: "altered", position: 99 },
  },
  {
    name: "an event that was deleted",
    sql: `delete from audit_events where ${at(200)}`,
    ...{ kind: "removed", position: 200 },
  },
  {
    name: "the first event, deleted with its entry",
    sql: `delete from audit_events where ${at(0)}; delete from ledger_entries where account_id = 'acme' and position = 0`,
    ...{ kind: "removed", position: 0 },
  },
  {
    name: "an entry that was deleted, and its event was not",
    sql: "delete from ledger_entries where account_id = 'acme' and position = 255",
    ...{ kind: "removed", position: 255 },
  },
  {
    name: "an event that was deleted with its entry, and all positions above moved down",
    sql: `delete from audit_events where ${at(200)};
      delete from ledger_entries where account_id = 'acme' and position = 200; ${shift(201, -1)};
      update ledger_heads set size = size - 1 where account_id = 'acme'`,
    ...{ kind: "removed", position: 200, says: "removed before it" },
  },
  {
    name: "an event that was inserted with an entry, and all positions above moved up",
    sql: `${shift(300, 1)};
      insert into ledger_entries (account_id, position, sequence, leaf_hash, token_name_salt)
        select account_id, 300, 1000000, leaf_hash, token_name_salt from ledger_entries
        where account_id = 'acme' and position = 299;
      insert into audit_events (sequence, account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields)
        overriding system value values (1000000, 'acme', now(), 't', 'n', 'rest', 'q', 'created', '{}', '{}');
      update ledger_heads set size = size + 1 where account_id = 'acme'`,
    ...{ kind: "altered", position: 300 },
  },
  {
    name: "an event that was inserted without an entry",
    sql: `insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields, written_in)
      values ('acme', now(), 't', 'n', 'rest', 'q', 'created', '{}', '{}', '3')`,
    ...{ kind: "inserted", position: null, says: "no position" },
  },
  {
    name: "an event that was inserted under a transaction's number that the sealer never reaches",
    sql: `insert into audit_events (account_id, at, token_id, token_name, surface, request_id, action, kyc_ids, changed_fields, written_in)
      values ('acme', now() + interval '100 years', 't', 'n', 'rest', 'q', 'created', '{}', '{}', '900000000000')`,
    ...{ kind: "inserted", position: null, says: "no position" },
  },
  {
    name: "two events whose positions were swapped",
    sql: swapEntries(120, 480, "sequence"),
    ...{ kind: "reordered", position: 120, says: "480" },
  },
  {
    name: "two events next to one another whose positions were swapped",
    sql: swapEntries(120, 121, "sequence"),
    ...{ kind: "reordered", position: 120, says: "121" },
  },
  {
    name: "two entries that were swapped as a whole",
    sql: `update ledger_entries set position = -position where account_id = 'acme' and position in (120, 480);
      update ledger_entries set position = 600 + position where account_id = 'acme' and position < 0`,
    ...{ kind: "reordered", position: 120, says: "480" },
  },
  {
    name: "entries at the end that were deleted",
    sql: "delete from ledger_entries where account_id = 'acme' and position >= 690",
    ...{ kind: "truncated", position: 690 },
  },
  {
    name: "all entries that were deleted",
    sql: "delete from ledger_entries where account_id = 'acme'",
    ...{ kind: "truncated", position: 0 },
  },
  {
    name: "a head that was deleted",
    sql: "delete from ledger_heads where account_id = 'acme'",
    ...{ kind: "inserted", position: 0 },
  },
  {
    name: "a head of another tree",
    sql: "update ledger_heads set frontier = sha256('x') || substring(frontier from 33) where account_id = 'acme'",
    ...{ kind: "rewritten", position: 700, says: "head" },
  },
  {
    name: "a stored hash of a subtree that was changed",
    sql: "update ledger_nodes set hash = sha256('x') where account_id = 'acme' and index = 1",
    ...{ kind: "rewritten", position: 256, says: "events 256 to 511" },
  },
  {
    name: "a stored hash of a subtree that was deleted",
    sql: "delete from ledger_nodes where account_id = 'acme' and index = 0",
    ...{ kind: "rewritten", position: 0, says: "missing" },
  },
  ...[
    "other_action = 'updated'",
    "other_surface = 'rest', surface = 'graphql'",
    "kyc_ids = array[kyc_ids]",
    "kyc_ids = array[null]::text[]",
    "at = 'infinity'",
  ].map(
    (change): Tampering => ({
      name: `an event whose readers see the same, or nothing, with ${change}`,
      sql: `update audit_events set ${change} where ${at(345)}`,
      ...{ kind: "altered", position: 345 },
    }),
  ),
  {
    name: "an event that was removed from the history of its record",
    sql: `delete from audit_event_records where ${at(345)}`,
    ...{ kind: "altered", position: 345, says: "history" },
  },
  ...[
    ["an event", `(select sequence from ledger_entries where account_id = 'acme' and position = 345)`],
    ["no event", "-7"],
  ].map(
    ([of, sequence]): Tampering => ({
      name: `a row that adds ${of} to the history of another record`,
      sql: `insert into audit_event_records (account_id, kyc_id, sequence) select 'acme', 'zz', ${sequence}`,
      ...{ kind: "inserted", position: null, says: "history" },
    }),
  ),
  ...["token_name_salt = 'x'", "reason_salt = 'x'", "leaf_hash = ''"].map(
    (change): Tampering => ({
      name: `an entry with ${change}`,
      sql: `update ledger_entries set ${change} where ${at(345)}`,
      ...{ kind: "altered", position: 345 },
    }),
  ),
  ...["insert", "insert with a negative sequence", "insert with the highest sequence"].map(
    (name, n): Tampering => ({
      name: `an event without a transaction and with an old time: ${name}`,
      sql: `alter table audit_events drop constraint audit_events_sequence_is_exact;
        ${insertOld(["default", "-5", "9223372036854775807"][n] as string)}`,
      ...{ kind: "inserted", position: null, says: "no position" },
    }),
  ),
  {
    name: "an event that was inserted before the first one",
    sql: `${insertOld("1000000")};
      insert into ledger_entries (account_id, position, sequence, leaf_hash, token_name_salt)
        select account_id, -1, 1000000, leaf_hash, token_name_salt from ledger_entries
        where account_id = 'acme' and position = 299`,
    ...{ kind: "inserted", position: -1 },
  },
  ...[
    { change: "size = -1", kind: "rewritten" as const, position: 0 },
    { change: "size = 9000000000000000", kind: "truncated" as const, position: 700 },
    { change: "frontier = 'x'", kind: "rewritten" as const, position: 700 },
    { change: "frontier = frontier || 'x'", kind: "rewritten" as const, position: 700 },
  ].map(
    ({ change, ...found }): Tampering => ({
      name: `a head with ${change}`,
      sql: `update ledger_heads set ${change} where account_id = 'acme'`,
      ...found,
    }),
  ),
  ...[
    { node: "8, 5", kind: "truncated" as const, position: 700 },
    { node: "7, 1", kind: "rewritten" as const, position: null },
    { node: "8, -1", kind: "rewritten" as const, position: null },
  ].map(
    ({ node, ...found }): Tampering => ({
      name: `a stored hash of a subtree (${node}) that no log of this size has`,
      sql: `insert into ledger_nodes values ('acme', ${node}, sha256('x'))`,
      ...found,
    }),
  ),
  {
    name: "everything that the sealer has written, deleted",
    sql: ["ledger_heads", "ledger_nodes", "ledger_entries"]
      .map((table) => `delete from ${table} where account_id = 'acme'`)
      .join(";"),
    ...{ kind: "truncated", position: 0 },
  },
  {
    name: "the whole log, deleted",
    sql: ["ledger_heads", "ledger_nodes", "ledger_entries", "audit_events"]
      .map((table) => `delete from ${table} where account_id = 'acme'`)
      .join(";"),
    ...{ kind: "truncated", position: 0, says: "a checkpoint has 700" },
  },
];

test.each(TAMPERINGS)(
  "$name is found and named",
  undone(async ({ sql, kind, position, says = "" }: Tampering) => {
    await run(sql);
    const fault = await verify();
    expect(fault).toMatchObject({ account: "acme", kind, position });
    expect(fault?.message).toContain(says);
    expect(await verify([], "globex")).toBeUndefined();
  }),
);

test(
  "a reason that was erased together with its salt is no fault",
  undone(async () => {
    await run(`update audit_events set reason = null where ${at(345)};
      update ledger_entries set reason_salt = null where account_id = 'acme' and position = 345`);
    expect(await verify()).toBeUndefined();
  }),
);

/** Computes all hashes of the log anew, as somebody can who knows the salts in the database. */
async function rehash(): Promise<void> {
  const frontier = emptyFrontier();
  const entries = await findEntries(db(), "acme", { from: 0, to: SIZE, limit: SIZE });
  const nodes: [index: number, hash: string][] = [];
  const hashes = (entries as SealedEvent[]).map(({ entry, event }, position) => {
    const hash = hashLeaf(leafOf({ entry, event }, position));
    append(frontier, hash, ({ level, index }, inner) => {
      if (level === 8) nodes.push([index, inner.toString("hex")]);
    });
    return hash.toString("hex");
  });
  // Whatever the order in which the rows are written, no two may have the same position meanwhile.
  await run("update ledger_entries set position = position + $1 where account_id = 'acme'", [SIZE]);
  await run(
    `update ledger_entries set position = n - 1, leaf_hash = decode(hash, 'hex')
     from unnest($1::int[], $2::text[]) with ordinality as given(old, hash, n)
     where account_id = 'acme' and position = old + ${SIZE}`,
    [entries.map(({ entry }) => entry.position), hashes],
  );
  await run(
    `update ledger_nodes set hash = decode(given.hash, 'hex') from unnest($1::int[], $2::text[]) as given(index, hash)
     where account_id = 'acme' and ledger_nodes.index = given.index`,
    [nodes.map(([index]) => index), nodes.map(([, hash]) => hash)],
  );
  await run("update ledger_heads set size = $1, frontier = decode($2, 'hex') where account_id = 'acme'", [
    frontier.size,
    Buffer.concat(frontier.hashes).toString("hex"),
  ]);
}

describe("a log that was rewritten with all its hashes", () => {
  test.each([
    ["an altered event", `update audit_events set status_after = 'verified' where ${at(345)}`, 300],
    ["the last event altered", `update audit_events set status_after = 'verified' where ${at(699)}`, 600],
    [
      "a removed event",
      `delete from audit_event_records where ${at(110)}; delete from audit_events where ${at(110)}; delete from ledger_entries where account_id = 'acme' and position = 110`,
      100,
    ],
  ])(
    "with %s has no fault in itself, and does not continue a checkpoint that was kept",
    undone(async (_name: string, sql: string, good: number) => {
      await run(sql);
      await rehash();
      expect(await verify([])).toBeUndefined();
      const fault = await verify();
      expect(fault).toMatchObject({ kind: "rewritten", position: good });
      expect(fault?.message).toContain("does not continue a checkpoint");
      expect((await verify(kept.slice(-1)))?.kind).toMatch(/rewritten|truncated/);
    }),
  );

  test(
    "that was replaced by another account's is not taken for it",
    undone(async () => {
      const tables = ["ledger_heads", "ledger_nodes", "ledger_entries", "audit_events"];
      await run(tables.map((table) => `delete from ${table} where account_id = 'acme'`).join(";"));
      await run(
        tables
          .map((table) => `update ${table} set account_id = 'acme' where account_id = 'globex'`)
          .join(";"),
      );
      expect(await verify([])).toMatchObject({ kind: "altered", position: 0 });
    }),
  );
});

test(
  "an older copy of the tables, restored, is shorter than the checkpoint, though it is a good log in itself",
  undone(async () => {
    const newer = `account_id = 'acme' and sequence > (
      select sequence from ledger_entries where account_id = 'acme' and position = 399)`;
    await run(`delete from audit_event_records where ${newer}; delete from audit_events where ${newer};
    delete from ledger_entries where account_id = 'acme' and position >= 400;
    delete from ledger_nodes where account_id = 'acme' and (index + 1) * 256 > 400;
    delete from ledger_heads where account_id = 'acme'`);
    await run("insert into ledger_heads values ('acme', 400, '')");
    await rehash();
    expect(await verify(kept.slice(0, 4))).toBeUndefined();
    expect(await verify()).toMatchObject({ kind: "truncated", position: 400 });
  }),
);

describe("kept checkpoints", () => {
  const keyring = () => new Keyring([{ id: "k", secret: Buffer.alloc(32, 7) }]);
  let logKeys: LogKeys;
  beforeAll(async () => {
    logKeys = await openLogKeys({ db: database.db, keys: keyring() });
  });
  async function* lines(text: string): AsyncGenerator<string> {
    yield* text.split(/\r?\n/);
  }
  const headOfSize = (size: number, accountId = "acme") => {
    const root = kept.find((one) => one.size === size)?.root as Buffer;
    return { accountId, size, hashes: [root] };
  };
  const note = (size: number, accountId?: string) => signAnyHead(logKeys, headOfSize(size, accountId));

  test("are read from notes, lines of a log and proofs, among anything else", async () => {
    const logged = (size: number) =>
      JSON.stringify({ level: "info", account: "acme", size, checkpoint: note(size), msg: "the head" });
    const proofOf = (size: number) => `c2sp.org/tlog-proof@v1\nindex 0\n\n${note(size)}`;
    const text = [
      ...["some text", "", note(100).trimEnd(), note(200).trimEnd(), "", "", logged(300)],
      ...[`gateway-1  | ${logged(400)}`, logged(500).slice(0, 200), '{"checkpoint":"nothing"}'],
      ...[
        JSON.stringify({ data: { auditCheckpoint: note(100), events: [{ proof: proofOf(200) }] } }, null, 2),
      ],
      ...[`position,leaf`, `checkpoint,"${note(300)}"`, `{"reason":${JSON.stringify(logged(700))}}`],
      ...["c2sp.org/tlog-proof@v1", "index 3", "", note(600).trimEnd(), "the end", note(700, "globex")],
    ].join("\n");
    const { heads, count, faults } = await readCheckpoints(lines(text), logKeys);
    expect(faults).toEqual([]);
    expect(count).toBe(9);
    expect(heads.get("acme")?.map(({ size }) => size)).toEqual([100, 200, 300, 400, 600]);
    expect(heads.get("globex")?.map(({ size }) => size)).toEqual([700]);
  });

  test("of a key that the database does not have are a fault, unless the key is given", async () => {
    const stranger = await createTestDatabase();
    const theirs = await openLogKeys({ db: stranger.db, keys: keyring(), logName: logKeys.name });
    const text = signAnyHead(theirs, headOfSize(100));
    const { faults, heads } = await readCheckpoints(lines(text), logKeys);
    expect(faults).toMatchObject([{ account: "acme", kind: "unproven" }]);
    expect(heads.size).toBe(0);
    const others = theirs.verifiersOf(theirs.originOf("acme"));
    expect((await readCheckpoints(lines(text), logKeys, others)).faults).toEqual([]);
    const forged = note(100).replace("\n100\n", "\n101\n");
    expect((await readCheckpoints(lines(forged), logKeys)).faults).toHaveLength(1);
    await stranger.drop();
  });

  test("of before a rotation of the key, and of another name of the logs, count as before", async () => {
    const renamed = await openLogKeys({ db: database.db, keys: keyring(), logName: "kyc.example.com" });
    const text = note(100) + signAnyHead(renamed, headOfSize(200));
    for (let n = 0; n < 3; n++) await rotateSigningKey(database.db, keyring(), byCommand());
    const now = await openLogKeys({ db: database.db, keys: keyring() });
    const { heads, faults } = await readCheckpoints(lines(text), now);
    expect(faults).toEqual([]);
    expect(heads.get("acme")?.map(({ size }) => size)).toEqual([100, 200]);
  });
});
