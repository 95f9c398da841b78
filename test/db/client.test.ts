import { afterAll, beforeAll, expect, test } from "vitest";
import { connect } from "../../src/db/client.ts";
import { DatabaseError } from "../../src/db/database-error.ts";
import { AppError } from "../../src/errors.ts";
import { insertKyc } from "../../src/kyc/store.ts";
import { createTestDatabase } from "../support/database.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test("a connection that does not answer in time is replaced, and nothing waits behind it", async () => {
  const db = connect({ address: { url: database.url }, poolSize: 1, prepare: true });
  const failure = await db.transaction((tx) => tx.execute("select pg_sleep(3)"), 200).catch((error) => error);
  expect(failure).toBeInstanceOf(AppError);
  expect(failure.code).toBe("UNAVAILABLE");
  const asked = performance.now();
  expect(await db.send("select $1::int + 1", [1])).toEqual([[2]]);
  expect(performance.now() - asked).toBeLessThan(2000);
  await db.close();
});

test.each(["between its statements", "during a statement"])(
  "a transaction whose connection is cut %s fails with UNAVAILABLE, writes nothing, and the pool goes on",
  async (moment) => {
    const db = connect({ address: { url: database.url }, poolSize: 1, prepare: true });
    const insert = (n: number) => `insert into deleted_kycs values ('cut', '${n}', now())`;
    for (let round = 0; round < 10; round++) {
      const failure = await db
        .transaction(async (tx) => {
          await tx.execute(insert(1));
          const [row] = await tx.execute<{ pid: number }>("select pg_backend_pid() as pid");
          const cut = database.db.execute("select pg_terminate_backend($1)", [row?.pid]);
          if (moment === "during a statement") await tx.execute("select pg_sleep(5)");
          await cut;
          await new Promise((resolve) => setTimeout(resolve, 20));
          await tx.execute(insert(2));
        })
        .catch((error) => error);
      expect(failure.code).toBe("UNAVAILABLE");
      expect(await db.execute("select * from deleted_kycs where account_id = 'cut'")).toEqual([]);
    }
    await db.close();
  },
);

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
    ...{ id: String(n).padStart(16, "0"), customerId: `"quoted\\" {${n}},null`, documentNumber: 'N"\\{},' },
    ...({ verificationStatus: "pending", documentType: "visa" } as const),
    ...{ createdAt: n, updatedAt: n, version: 1 },
  });
  await insertKyc(database.db, "acme", kyc(3));
  const outcomes = await Promise.allSettled(
    Array.from({ length: 8 }, (_, n) => insertKyc(database.db, "acme", kyc(n))),
  );
  expect(outcomes.map(({ status }) => status)).toEqual(
    Array.from({ length: 8 }, (_, n) => (n === 3 ? "rejected" : "fulfilled")),
  );
  expect((outcomes[3] as PromiseRejectedResult).reason).toBeInstanceOf(DatabaseError);
  const kept = await database.db.execute(
    "select customer_id, document_number from kycs where account_id = 'acme' order by id",
  );
  expect(kept).toEqual(
    Array.from({ length: 8 }, (_, n) => ({
      customer_id: kyc(n).customerId,
      document_number: kyc(n).documentNumber,
    })),
  );
});
