import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/config.ts";
import type { Database } from "../../../src/db/client.ts";
import { type EmbeddedDatabase, openEmbedded } from "../../../src/db/embedded/embedded.ts";
import { keepUp, startUpkeep } from "../../../src/db/embedded/upkeep.ts";
import { migrate } from "../../../src/db/migrating/migrate.ts";
import { openDatabase } from "../../../src/db/open.ts";
import { connect } from "../../../src/db/pool/pool.ts";
import { roomForData } from "../../support/postgres-server.ts";

const dataDir = mkdtempSync(join(await roomForData(), "upkeep-"));
let engine: EmbeddedDatabase;
/** Without an upkeep that comes when it likes. */
let db: Database;

beforeAll(async () => {
  engine = await openEmbedded(dataDir, {});
  const address = { socketPath: engine.socketPath };
  db = connect({ address, poolSize: 2, prepare: true });
  await migrate({ embedded: db });
});

afterAll(async () => {
  await db.close();
  await engine.close();
  rmSync(dataDir, { recursive: true, force: true });
});

/** Runs a statement that writes more than a request does, for which a busy machine needs longer than requests may. */
const unhurried = (statement: string, parameters?: unknown[]) =>
  db.execute(statement, parameters, Number.POSITIVE_INFINITY);
const addRecords = (from: number, to: number) =>
  unhurried(
    `insert into kycs (account_id, id, customer_id, verification_status, document_type, sealed_number, number_digest,
       created_at, updated_at, version)
     select 'acme', 'V' || md5(n::text), 'C' || n, 'pending', 'passport', 'key.sealed', 'key.digest',
       now() + n * interval '1 second', now(), 1
     from generate_series($1::int, $2::int) as n`,
    [from, to],
  );
const readNumber = async (statement: string) => {
  const [row] = await db.execute<{ value: number }>(statement);
  return Number(row?.value);
};
const countOfRuns = () =>
  readNumber("select sum(vacuum_count + analyze_count) as value from pg_stat_user_tables");
const keepUpNow = () => keepUp(db, () => false);

test("a record is looked for by its key, and not in all of its account, once many have come", async () => {
  await addRecords(1, 1000);
  await keepUpNow();
  const plan = await db.execute<{ "QUERY PLAN": string }>(
    "explain select version from kycs where account_id = 'acme' and id = any(array['V1', 'V2', 'V3'])",
  );
  expect(plan.map((line) => line["QUERY PLAN"]).join("\n")).toContain("using kycs_account_id_id_pk");
});

test("a table that has hardly changed is left alone", async () => {
  await keepUpNow();
  const before = await countOfRuns();
  await addRecords(1001, 1040);
  await keepUpNow();
  expect(await countOfRuns()).toBe(before);
  await addRecords(1041, 1500);
  await keepUpNow();
  expect(await countOfRuns()).toBe(before + 2);
});

test("nothing more is begun once it is to end", async () => {
  await addRecords(1501, 2000);
  const before = await countOfRuns();
  await keepUp(db, () => true);
  expect(await countOfRuns()).toBe(before);
});

test("the space of dead rows is used again", async () => {
  const size = () => readNumber("select pg_relation_size('kycs') as value");
  const before = await size();
  for (let time = 0; time < 4; time++) {
    await unhurried("update kycs set version = version + 1");
    await keepUpNow();
  }
  expect(await size()).toBeLessThan(3 * before);
});

test("the log that a start after a crash goes through stays short", async () => {
  const sinceCheckpoint = () =>
    readNumber("select pg_current_wal_lsn() - redo_lsn as value from pg_control_checkpoint()");
  const kept = () => readNumber("select sum(size) as value from pg_ls_waldir()");
  for (let time = 0; time < 3; time++) {
    await unhurried(
      "select pg_logical_emit_message(false, 'filling', repeat('x', 1000000)) from generate_series(1, 72)",
    );
    expect(await sinceCheckpoint()).toBeGreaterThan(70e6);
    await keepUpNow();
    expect(await sinceCheckpoint()).toBeLessThan(1e6);
  }
  expect(await kept()).toBeLessThan(200e6);
});

test("what an earlier opening has left to do is done soon after the next", async () => {
  await addRecords(2001, 9000);
  await db.close();
  await engine.close();
  const warnings: string[] = [];
  const opened = await openDatabase(parseConfig({ DATA_DIR: dataDir }), (text) => warnings.push(text));
  db = opened.db;
  expect(await countOfRuns()).toBe(0);
  await expect.poll(countOfRuns, { timeout: 30_000, interval: 200 }).toBeGreaterThan(0);
  await opened.close();
  expect(warnings).toEqual([]);
});

test("a failure is a warning", async () => {
  const told: string[] = [];
  const unreachable = connect({
    address: { socketPath: join(tmpdir(), "none") },
    poolSize: 1,
    prepare: true,
  });
  const stop = startUpkeep(unreachable, (text) => told.push(text));
  await expect.poll(() => told, { timeout: 15_000 }).toHaveLength(1);
  expect(told[0]).toContain("the embedded database could not be tidied up");
  await stop();
  await unreachable.close();
});
