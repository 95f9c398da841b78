import { randomBytes } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { connect } from "../../../src/db/pool/pool.ts";
import { FIND_DEVIATIONS } from "../../../src/db/pool/session.ts";
import { createTestDatabase } from "../../support/database.ts";
import { administer } from "../../support/postgres-server.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
const roles: string[] = [];
const PATIENT = { statementTimeout: 20_000, transactionTimeout: 20_000 };

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
  for (const role of roles) await administer(inject("postgresUrl"), `drop role ${role}`);
});

/** A role of the test's own, and the URL with which it signs in. */
async function createRole(options: string, ...defaults: string[]): Promise<{ name: string; url: string }> {
  const name = `role_${randomBytes(6).toString("hex")}`;
  roles.push(name);
  await administer(
    inject("postgresUrl"),
    `create role ${name} login password '${name}' in role pg_read_all_data, pg_write_all_data ${options}`,
    ...defaults.map((setting) => `alter role ${name} set ${setting}`),
  );
  const url = new URL(database.url);
  url.username = name;
  url.password = name;
  return { name, url: url.href };
}

test("connections that reach their greatest age are replaced, and no statement or transaction fails", async () => {
  const db = connect({
    address: { url: `${database.url}?max_lifetime=1` },
    poolSize: 4,
    prepare: true,
    ...PATIENT,
  });
  const pids = new Set<unknown>();
  const faults: unknown[] = [];
  const end = performance.now() + 3000;
  const works = [
    () => db.send("select pg_backend_pid()", []).then(([row]) => pids.add(row?.[0])),
    () => db.execute("select pg_sleep(0.03)"),
    () =>
      db.transaction(async (tx) => {
        await tx.execute("select 1");
        await wait(30);
        await tx.send("select $1::int", [1]);
      }),
  ];
  const workers = Array.from({ length: 16 }, async (_, n) => {
    while (performance.now() < end) await works[n % works.length]?.().catch((error) => faults.push(error));
  });
  await Promise.all(workers);
  expect(faults).toEqual([]);
  expect(pids.size).toBeGreaterThan(4);
  await db.close();
});

test("a pool makes do with the connections that its role gets, and has more when it gets more", async () => {
  const { name, url } = await createRole("connection limit 2");
  const db = connect({ address: { url }, poolSize: 6, prepare: true, ...PATIENT });
  const ask = (count: number) =>
    Promise.all(Array.from({ length: count }, () => db.send("select pg_backend_pid(), pg_sleep(0.02)", [])));
  const pids = (await ask(40)).map(([row]) => row?.[0]);
  expect(new Set(pids).size).toBeLessThanOrEqual(2);
  await Promise.all(Array.from({ length: 12 }, () => db.transaction((tx) => tx.execute("select 1"))));
  await administer(inject("postgresUrl"), `alter role ${name} connection limit 20`);
  const size = () => db.usage().idle + db.usage().inUse;
  expect(size()).toBeLessThanOrEqual(2);
  await expect.poll(size, { timeout: 15_000 }).toBe(6);
  await db.close();
});

const DEFAULTS = [
  ...["default_transaction_isolation = 'serializable'", "array_nulls = off", "extra_float_digits = -10"],
  ...["datestyle = 'German, DMY'", "intervalstyle = 'iso_8601'", "timezone = 'Asia/Kathmandu'"],
  ...["bytea_output = 'escape'", "standard_conforming_strings = off", "lock_timeout = '1ms'", "jit = on"],
];
const LOOK = `select $1::text[], 1792246437123.0::float8::text, timestamptz '2026-01-02 03:04:05+00',
  current_setting('transaction_isolation'), current_setting('jit')`;
const SEEN = [[["a", null], "1792246437123", "2026-01-02 03:04:05+00", "read committed", "off"]];

test.each(["at the start", "in each transaction"] as const)(
  "what a role has as its defaults changes nothing, with settings %s",
  async (settings) => {
    const { url } = await createRole("", ...DEFAULTS);
    const db = connect({ address: { url }, poolSize: 2, prepare: true, settings, ...PATIENT });
    expect(await db.send(LOOK, [["a", null]])).toEqual(SEEN);
    expect(await db.transaction((tx) => tx.send(LOOK, [["a", null]]))).toEqual(SEEN);
    const bare = connect({ address: { url }, poolSize: 1, prepare: true, ...PATIENT });
    const found = await bare.execute<{ name: string }>(FIND_DEVIATIONS);
    expect(found.map(({ name }) => name)).toContain("array_nulls");
    if (settings === "at the start") expect(await db.execute(FIND_DEVIATIONS)).toEqual([]);
    await Promise.all([bare.close(), db.close()]);
  },
);
