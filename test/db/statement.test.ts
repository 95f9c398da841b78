import { inspect } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { insertKyc } from "../../src/kyc/store/write.ts";
import { describeError } from "../../src/log.ts";
import { createTestDatabase } from "../support/database.ts";
import { someEvent } from "../support/records.ts";

const CANARY = "CANARY47110815";
const kyc = {
  id: "0000000000000001",
  customerId: CANARY,
  verificationStatus: "pending",
  documentType: "passport",
  sealedNumber: CANARY,
  numberDigest: CANARY,
  sealedVersion: null,
  plainNumber: null,
  createdAt: 1,
  updatedAt: 1,
  statusSince: 1,
  expiresAt: null,
  relationshipEndedAt: null,
  version: 1,
} as const;

const event = someEvent("acme", kyc.id);

let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

const failureOf = async (work: Promise<unknown>) => {
  const failure = await work.catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(Error);
  return failure;
};

test("a statement that the server refuses fails with its SQLSTATE and none of its values", async () => {
  await insertKyc(database.db, "acme", kyc, event);
  const failures = [
    await failureOf(insertKyc(database.db, "acme", kyc, event)),
    await failureOf(
      database.db.transaction(async (tx) => {
        for (let n = 0; n < 2; n++)
          await tx.send("insert into deleted_kycs values ($1, $1, now())", [CANARY]);
      }),
    ),
    await failureOf(insertKyc(database.db, "acme", { ...kyc, version: Number.NaN }, event)),
    await failureOf(insertKyc(database.db, "acme", { ...kyc, documentType: CANARY as "passport" }, event)),
    await failureOf(database.db.execute(`select '${CANARY}'::int`)),
  ];
  expect(failures.map((failure) => (failure as { code: string }).code)).toEqual([
    "23505",
    "23505",
    "22P02",
    "22P02",
    "22P02",
  ]);
  for (const failure of failures) {
    expect(inspect(failure, { depth: 10, showHidden: true })).not.toContain(CANARY);
    expect(JSON.stringify(describeError(failure))).not.toContain(CANARY);
  }
});

test("a transaction that fails leaves nothing behind", async () => {
  const failure = await failureOf(
    database.db.transaction(async (tx) => {
      await tx.send("insert into deleted_kycs values ('acme', $1, now())", [kyc.id]);
      throw new RangeError("no");
    }),
  );
  expect(failure).toBeInstanceOf(RangeError);
  expect(await database.db.execute("select id from deleted_kycs")).toEqual([]);
});
