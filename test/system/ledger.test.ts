import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { faultsOf } from "../support/ledger.ts";
import { startPgbouncer } from "./support/debian.ts";
import { type Env, freshEnv, fullToken, type Gateway, startGateway, tidyUp } from "./support/gateway.ts";
import { openSql } from "./support/sql.ts";
import { keepWriting } from "./support/writers.ts";

afterEach(tidyUp);

/** How long the events of a busy machine may wait for their positions. Milliseconds. */
const PATIENCE = 20_000;

/** Reads an account's events by position while they come, as a client does that goes on from the last one it has seen. */
function follow(env: Env) {
  const sql = openSql(env);
  const seen: string[] = [];
  const wrong: string[] = [];
  let stopped = false;
  const readOn = async () => {
    const rows = await sql`
      select position::float8, sequence::text from ledger_entries
      where account_id = (select account_id from audit_events limit 1) and position >= ${seen.length} order by position`;
    for (const { position, sequence } of rows) {
      if (position !== seen.length) wrong.push(`position ${position} comes after ${seen.length - 1}`);
      seen.push(sequence);
    }
  };
  const reading = (async () => {
    while (!stopped) {
      await readOn();
      await wait(30);
    }
  })().catch((error) => wrong.push(String(error)));
  /** What is wrong once all events have positions: with what was read, and with the ledger. */
  const finish = async (): Promise<string[]> => {
    const missing = () => sql`
      select from audit_events left join ledger_entries using (account_id, sequence) where position is null`;
    await expect.poll(async () => (await missing()).length, { timeout: PATIENCE }).toBe(0);
    stopped = true;
    await reading;
    await readOn();
    const written = await sql`select sequence::text from audit_events`;
    const missed = written.filter(({ sequence }) => !seen.includes(sequence));
    const execute = async (text: string) => [...(await sql.unsafe(text))] as never[];
    return [
      ...wrong,
      ...missed.map(({ sequence }) => `the reader missed ${sequence}`),
      ...(new Set(seen).size === seen.length ? [] : ["the reader got an event twice"]),
      ...(await faultsOf({ execute })),
    ];
  };
  const created = async () =>
    Number((await sql`select count(*) from audit_events where action = 'created'`)[0]?.count);
  return { seen, finish, created };
}

const growsBeyond = (seen: readonly string[], length: number) =>
  expect.poll(() => seen.length, { timeout: PATIENCE }).toBeGreaterThan(length);

test("replicas that are paused, resumed and killed hold up no other, and a reader by position misses no event", async () => {
  const env = await freshEnv("a real database");
  const gateways = await Promise.all([startGateway(env), startGateway(env), startGateway(env)]);
  const [paused, killed, other] = gateways as [Gateway, Gateway, Gateway];
  const token = await fullToken(env);
  // Those of the paused one wait meanwhile.
  const all = [keepWriting([killed.url, other.url], token, 1), keepWriting([paused.url], token, 1)];
  const reader = follow(env);
  await growsBeyond(reader.seen, 100);
  for (let n = 0; n < 4; n++) {
    process.kill(paused.pid, "SIGSTOP");
    await growsBeyond(reader.seen, reader.seen.length + 10);
    process.kill(paused.pid, "SIGCONT");
    await growsBeyond(reader.seen, reader.seen.length + 10);
  }
  await killed.stop("SIGKILL");
  await growsBeyond(reader.seen, reader.seen.length + 50);
  await Promise.all(all.map((writers) => writers.stop()));
  expect(await reader.finish()).toEqual([]);
  const acknowledged = all.reduce((sum, writers) => sum + writers.acknowledged.size, 0);
  expect(await reader.created()).toBeGreaterThanOrEqual(acknowledged);
  expect(all.flatMap(({ strange }) => strange)).toEqual([]);
});

test("replicas behind a pooler that shares connections between transactions seal what they write, and go on if one is killed", async () => {
  const direct = await freshEnv("a real database");
  const pooled = await startPgbouncer(direct.DATABASE_URL ?? "");
  const env = { ...direct, DATABASE_URL: pooled, DATABASE_PREPARE: "false", STATEMENT_TIMEOUT: "20 s" };
  const [one, other] = await Promise.all([startGateway(env), startGateway(env)]);
  const writers = keepWriting([one.url, other.url], await fullToken(env), 2);
  const reader = follow(direct);
  await growsBeyond(reader.seen, 100);
  // The server ends connections of the pooler, in the middle of transactions, too.
  const sql = openSql(direct);
  for (let n = 0; n < 10; n++) {
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and query like '%ledger_progress%' and pid <> pg_backend_pid()`;
    await growsBeyond(reader.seen, reader.seen.length + 5);
  }
  await one.stop("SIGKILL");
  await growsBeyond(reader.seen, reader.seen.length + 50);
  await writers.stop();
  expect(await reader.finish()).toEqual([]);
  expect(await reader.created()).toBeGreaterThanOrEqual(writers.acknowledged.size);
});

test("on the embedded database events have their positions, also after the gateway was killed", async () => {
  const env = await freshEnv("the embedded database");
  const killed = await startGateway(env);
  const token = await fullToken(env);
  const first = keepWriting([killed.url], token, 1);
  await expect.poll(() => first.acknowledged.size, { timeout: PATIENCE }).toBeGreaterThan(30);
  await killed.stop("SIGKILL");
  await first.stop();
  const gateway = await startGateway(env);
  const second = keepWriting([gateway.url], token, 1);
  const reader = follow(env);
  await expect.poll(() => second.acknowledged.size, { timeout: PATIENCE }).toBeGreaterThan(30);
  await second.stop();
  expect(await reader.finish()).toEqual([]);
  expect(await reader.created()).toBeGreaterThanOrEqual(first.acknowledged.size + second.acknowledged.size);
});
