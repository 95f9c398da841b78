import { setImmediate as turn, setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DatabaseError } from "../../../src/db/database-error.ts";
import { connect } from "../../../src/db/pool/pool.ts";
import { AppError } from "../../../src/errors.ts";
import { insertKyc } from "../../../src/kyc/store/write.ts";
import { createTestDatabase } from "../../support/database.ts";
import { someEvent } from "../../support/records.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test("transactions that wait too long write nothing later, and hold a bounded number of connections", async () => {
  const db = connect({ address: { url: database.url }, poolSize: 2, prepare: true });
  const connections = async () => {
    const [row] = await database.db.execute<{ count: number }>(
      "select count(*)::int from pg_stat_activity where datname = current_database() and query like '%into deleted_kycs%' and pid <> pg_backend_pid()",
    );
    return row?.count ?? 0;
  };
  let mostAtOnce = 0;
  await database.db.transaction(async (tx) => {
    await tx.execute("lock table deleted_kycs in access exclusive mode");
    for (let round = 0; round < 6; round++) {
      const late = async (executor: typeof tx) => {
        await executor.execute("insert into deleted_kycs values ('late', 'first', now())");
        await executor.execute("insert into deleted_kycs values ('late', 'second', now())");
      };
      const failures = await Promise.allSettled([db.transaction(late, 400), db.transaction(late, 400)]);
      for (const failure of failures) expect(failure).toMatchObject({ reason: { code: "UNAVAILABLE" } });
      mostAtOnce = Math.max(mostAtOnce, await connections());
    }
  });
  expect(mostAtOnce).toBeGreaterThan(0);
  expect(mostAtOnce).toBeLessThanOrEqual(4);
  await expect.poll(() => db.execute("select 1 as one"), { timeout: 15_000 }).toEqual([{ one: 1 }]);
  await expect.poll(() => connections(), { timeout: 15_000 }).toBeLessThanOrEqual(2);
  expect(await database.db.execute("select * from deleted_kycs where account_id = 'late'")).toEqual([]);
  await db.close();
});

test.each(["between its statements", "during a statement"])(
  "a transaction whose connection is cut %s fails with UNAVAILABLE, writes nothing, and the pool goes on",
  async (moment) => {
    const db = connect({ address: { url: database.url }, poolSize: 1, prepare: true });
    const insert = (n: number) => `insert into deleted_kycs values ('cut', '${n}', now())`;
    for (let round = 0; round < 6; round++) {
      const failure = await db
        .transaction(async (tx) => {
          await tx.execute(insert(1));
          const [row] = await tx.execute<{ pid: number }>("select pg_backend_pid() as pid");
          const cut = database.db.execute("select pg_terminate_backend($1)", [row?.pid]);
          if (moment === "during a statement") await tx.execute("select pg_sleep(5)");
          await cut;
          await wait(20);
          await tx.execute(insert(2));
        })
        .catch((error) => error);
      expect(failure.code).toBe("UNAVAILABLE");
      expect(await db.execute("select * from deleted_kycs where account_id = 'cut'")).toEqual([]);
    }
    await db.close();
  },
);

test("connections that are cut again and again are made anew at once, whatever was on its way", async () => {
  const db = connect({ address: { url: database.url }, poolSize: 4, prepare: true });
  const faults = new Set<unknown>();
  let asking = true;
  const ask = async (n: number) => {
    // From there what is sent is written a turn later, when its socket may have been closed.
    for (; asking; await turn())
      await db.send("select $1::int", [n]).catch(({ cause }) => faults.add(cause?.code ?? cause?.message));
  };
  const askers = Array.from({ length: 40 }, (_, n) => ask(n));
  for (let round = 0; round < 40; round++) {
    await wait(25);
    await database.db.execute(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
  }
  asking = false;
  // A statement that hangs fails at the end of its time.
  await Promise.all(askers);
  await expect.poll(() => db.execute("select 1 as one").catch(() => [])).toEqual([{ one: 1 }]);
  expect([...faults]).not.toContain("CONNECT_TIMEOUT");
  expect([...faults]).not.toContain("the database did not answer in time");
  await db.close();
});

test("statements do not wait behind a transaction while another connection is free", async () => {
  const db = connect({ address: { url: database.url }, poolSize: 2, prepare: true });
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const transaction = db.transaction(async (tx) => {
    await tx.execute("select 1");
    await held;
  });
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => db.send("select $1::int", [n])));
  expect(answers).toEqual(Array.from({ length: 20 }, (_, n) => [[n]]));
  release();
  await transaction;
  await db.close();
});

test("of records that are created at once, one that can't be keeps none of the others out", async () => {
  const kyc = (n: number) => ({
    ...{
      id: String(n).padStart(16, "0"),
      customerId: `"quoted\\" {${n}},null`,
      sealedVersion: null,
      plainNumber: null,
    },
    ...{ sealedNumber: `sealed ${n} "\\{},`, numberDigest: `digest ${n}` },
    ...({ verificationStatus: "pending", documentType: "visa" } as const),
    ...{ createdAt: n, updatedAt: n, statusSince: n, expiresAt: null, relationshipEndedAt: null, version: 1 },
  });
  const insert = (n: number) => insertKyc(database.db, "acme", kyc(n), someEvent("acme", kyc(n).id));
  await insert(3);
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, (_, n) => insert(n)));
  expect(outcomes.map(({ status }) => status)).toEqual(
    Array.from({ length: 8 }, (_, n) => (n === 3 ? "rejected" : "fulfilled")),
  );
  expect((outcomes[3] as PromiseRejectedResult).reason).toBeInstanceOf(DatabaseError);
  const kept = await database.db.execute(
    "select customer_id, sealed_number, number_digest from kycs where account_id = 'acme' order by id",
  );
  expect(kept).toEqual(
    Array.from({ length: 8 }, (_, n) => ({
      customer_id: kyc(n).customerId,
      sealed_number: kyc(n).sealedNumber,
      number_digest: kyc(n).numberDigest,
    })),
  );
  const events = await database.db.execute("select kyc_ids from audit_events order by kyc_ids");
  expect(events).toEqual(Array.from({ length: 8 }, (_, n) => ({ kyc_ids: [kyc(n).id] })));
});

test("what is beyond the queue's limit fails at once, and there is room again when the rest is done", async () => {
  const db = connect({ address: { url: database.url }, poolSize: 1, prepare: true, queueLimit: 3 });
  const sleeping = Array.from({ length: 3 }, () => db.execute("select pg_sleep(0.2)"));
  let hasRoom = false;
  const first = sleeping[0]?.then(() => {
    hasRoom = true;
  });
  await expect(db.execute("select 1")).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await expect(db.transaction(async () => {})).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(db.usage().refused).toBe(2);
  const urgent = db.urgent.execute("select 1 as one");
  expect(hasRoom).toBe(false);
  await first;
  await Promise.all(sleeping);
  expect(await urgent).toEqual([{ one: 1 }]);
  expect(await db.execute("select 1 as one")).toEqual([{ one: 1 }]);
  await db.close();
});

test("a transaction whose client is gone silently is ended by the server soon after its time, with its locks", async () => {
  const limits = { transactionTimeout: 300, settings: "at the start" as const };
  const db = connect({ address: { url: database.url }, poolSize: 1, prepare: true, ...limits });
  await database.db.execute("insert into deleted_kycs values ('idle', '1', now())");
  const lockIt = "select 1 from deleted_kycs where account_id = 'idle' for update";
  const silent = db.transaction(async (tx) => {
    await tx.execute(lockIt);
    await new Promise(() => {});
  });
  await expect(silent).rejects.toMatchObject({ code: "UNAVAILABLE" });
  const asked = performance.now();
  expect(await database.db.execute(lockIt)).toHaveLength(1);
  expect(performance.now() - asked).toBeLessThan(3000);
  await db.close();
});

test("connections through a network that falls silent again and again are cut, and the pool goes on", async () => {
  const url = new URL(database.url);
  const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port) });
  url.port = String(proxy.port);
  const limits = { statementTimeout: 500, queueLimit: 12 };
  const sockets = () => process.getActiveResourcesInfo().filter((type) => type === "TCPSocketWrap").length;
  const before = sockets();
  const db = connect({ address: { url: url.href }, poolSize: 2, prepare: true, ...limits });
  const ask = () => Promise.allSettled([1, 2].map((n) => db.send("select $1::int", [n])));
  const answers = async () => (await ask()).every(({ status }) => status === "fulfilled");
  for (let fault = 0; fault < 4; fault++) {
    await expect.poll(answers, { timeout: 15_000 }).toBe(true);
    proxy.freeze();
    const pending = Promise.all([ask(), ask()]);
    proxy.thaw();
    // Nor does the server hear that it should stop.
    if (fault === 3) proxy.refuse();
    for (const outcome of (await pending).flat()) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE" } });
    }
  }
  // Nobody has to ask in vain for it.
  await wait(4 * limits.statementTimeout);
  await proxy.restore();
  expect(await answers()).toBe(true);
  await expect.poll(() => db.usage().retired, { timeout: 15_000 }).toBe(0);
  await db.close();
  await proxy.cut();
  // An open connection would keep the process from ending.
  await expect.poll(sockets, { timeout: 15_000 }).toBeLessThanOrEqual(before);
});

test("whatever becomes of its connections, a pool fails with UNAVAILABLE alone, and goes on", async () => {
  const url = new URL(database.url);
  const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port) });
  url.port = String(proxy.port);
  const limits = { statementTimeout: 200, transactionTimeout: 300, queueLimit: 60 };
  const db = connect({ address: { url: url.href }, poolSize: 3, prepare: true, ...limits });
  const works = [
    () =>
      db.transaction(async (tx) => {
        await tx.execute("select 1");
        await wait(Math.random() * 20);
        await tx.send("select $1::text[]", [["a"]]);
        await tx.execute(`select pg_sleep(${Math.random() * 0.3})`);
      }),
    () => db.send("select $1::int", [1]),
    () => db.execute(`select pg_sleep(${Math.random() * 0.15})`),
  ];
  let over = false;
  const codes = new Set<unknown>();
  const workers = Array.from({ length: 12 }, async (_, n) => {
    while (!over) {
      await works[n % works.length]?.().catch((error) => codes.add(error.code));
      await wait(Math.random() * 5);
    }
  });
  for (const end = performance.now() + 2500; performance.now() < end; await wait(Math.random() * 100)) {
    if (Math.random() < 0.5) {
      proxy.freeze();
      await wait(Math.random() * 100);
      proxy.thaw();
    } else {
      await proxy.cut();
      await wait(Math.random() * 100);
      await proxy.restore();
    }
  }
  over = true;
  await Promise.all(workers);
  expect([...codes]).toEqual(["UNAVAILABLE"]);
  await expect
    .poll(() => db.execute("select 1 as one").catch(() => []), { timeout: 15_000 })
    .toEqual([{ one: 1 }]);
  await expect
    .poll(() => db.usage(), { timeout: 15_000 })
    .toMatchObject({ inUse: 0, retired: 0, waiting: 0 });
  await db.close();
  await proxy.cut();
});

test("behind a locked table the server has a bounded number of sessions, however long it takes", async () => {
  const limits = { statementTimeout: 150, queueLimit: 200 };
  const db = connect({ address: { url: database.url }, poolSize: 2, prepare: true, ...limits });
  let mostAtOnce = 0;
  await database.db.transaction(async (tx) => {
    await tx.execute("lock table deleted_kycs in access exclusive mode");
    for (let round = 0; round < 60; round++) {
      for (let n = 0; n < 8; n++)
        db.send("select count(*) from deleted_kycs where id = $1", ["locked"]).catch(() => {});
      await wait(20);
      const [row] = await database.db.execute<{ count: number }>(
        `select count(*)::int from pg_stat_activity where datname = current_database()
         and query like '%deleted_kycs where id%' and pid <> pg_backend_pid()`,
      );
      mostAtOnce = Math.max(mostAtOnce, row?.count ?? 0);
    }
  });
  expect(mostAtOnce).toBeGreaterThan(0);
  expect(mostAtOnce).toBeLessThanOrEqual(4);
  await expect
    .poll(() => db.execute("select 1 as one").catch(() => []), { timeout: 15_000 })
    .toEqual([{ one: 1 }]);
  await db.close();
});

test("what was given up takes its place of the queue until it has ended", async () => {
  const limits = { queueLimit: 3, statementTimeout: 4000 };
  const db = connect({ address: { url: database.url }, poolSize: 1, prepare: true, ...limits });
  // Each makes a connection first, which takes a while on a busy machine.
  const sleeping = () => db.transaction((tx) => tx.execute("select pg_sleep(30)"), 250);
  for (let n = 0; n < 3; n++) {
    const failure = await sleeping().catch((error) => error);
    expect(failure.cause?.message).toBe("the database did not answer in time");
  }
  const refused = await sleeping().catch((error) => error);
  expect(refused.message).toContain("more requests");
  await expect
    .poll(() => db.execute("select 1 as one").catch(() => []), { timeout: 30_000 })
    .toEqual([{ one: 1 }]);
  await db.close();
});

describe.concurrent("several pools at the same time", () => {
  test("a connection that does not answer in time is replaced, and nothing waits behind it", async () => {
    const db = connect({ address: { url: database.url }, poolSize: 1, prepare: true });
    const failure = await db
      .transaction((tx) => tx.execute("select pg_sleep(3)"), 200)
      .catch((error) => error);
    expect(failure).toBeInstanceOf(AppError);
    expect(failure.code).toBe("UNAVAILABLE");
    const asked = performance.now();
    expect(await db.send("select $1::int + 1", [1])).toEqual([[2]]);
    expect(performance.now() - asked).toBeLessThan(2000);
    await db.close();
  });

  test("a statement that takes too long fails in time, and the server stops working on it", async () => {
    const limits = { statementTimeout: 300, settings: "at the start" as const };
    const db = connect({ address: { url: database.url }, poolSize: 1, prepare: true, ...limits });
    const asked = performance.now();
    await expect(db.execute("select pg_sleep(7), 'slow'")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(performance.now() - asked).toBeLessThan(1500);
    const running = () =>
      database.db.execute(
        "select pid from pg_stat_activity where state = 'active' and query like 'select pg_sleep(7)%'",
      );
    await expect.poll(running, { timeout: 2000 }).toEqual([]);
    await db.close();
  });

  test("a network that falls silent, or is cut, while a connection is being made ends nothing but that connection", async () => {
    const url = new URL(database.url);
    const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port) });
    url.port = String(proxy.port);
    for (let delay = 0; delay < 24; delay += 1) {
      const limits = { statementTimeout: 100 };
      const db = connect({ address: { url: url.href }, poolSize: 1, prepare: true, ...limits });
      const asked = db.send("select $1::int", [1]).catch((error) => error);
      await wait(delay / 2);
      if (delay % 2 === 0) proxy.freeze();
      else await proxy.cut();
      await asked;
      if (delay % 2 === 0) await wait(150);
      proxy.thaw();
      if (delay % 2 === 1) await proxy.restore();
      await db.close();
    }
    await proxy.cut();
  });
});
