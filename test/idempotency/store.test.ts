import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Executor } from "../../src/db/client.ts";
import { replaceResults } from "../../src/idempotency/result-store.ts";
import { claimKey, completeKey, removeExpiredKeys } from "../../src/idempotency/store.ts";
import type { Kyc } from "../../src/kyc/record.ts";
import { deleteLockedKycs } from "../../src/kyc/store/deletion.ts";
import { createTestDatabase } from "../support/database.ts";
import { someEvent } from "../support/records.ts";

const NOW = Date.parse("2026-03-03T00:00:00Z");
const wanted = { keyHash: "hash", lock: "1", kycId: "record", requestDigest: null, sealedResult: null };
const record: Kyc = {
  ...{ id: "record7", customerId: "c", verificationStatus: "pending", documentType: "visa" },
  ...{
    sealedNumber: null,
    sealedVersion: null,
    plainNumber: "1",
    createdAt: NOW,
    updatedAt: NOW,
    statusSince: NOW,
    expiresAt: null,
    relationshipEndedAt: null,
    version: 1,
  },
};

let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
  // Two keys a minute, of two accounts. The planner has no statistics, as on a table that has just begun to grow.
  await database.db.execute(
    `insert into idempotency_keys (account_id, key_hash, kyc_id, request_digest, sealed_result, created_at)
     select 'account' || n % 2, 'hash' || n, 'record' || n / 10, 'digest', 'sealed',
       now() - interval '48 hours' + n * interval '30 seconds'
     from generate_series(1, 5000) n`,
  );
});
afterAll(() => database.drop());

/** Runs the statements of a function of the store, and answers their plans. */
async function explain(work: (executor: Executor) => Promise<unknown>): Promise<string> {
  const lines: string[] = [];
  const executor: Executor = {
    execute: () => Promise.reject(new Error("the store sends what is prepared")),
    send: async (text, values) => {
      const plan = await database.db.execute<{ "QUERY PLAN": string }>(
        `explain (analyze, costs off, timing off, summary off) ${text}`,
        values,
      );
      for (const line of plan) lines.push(line["QUERY PLAN"]);
      return [];
    },
  };
  await work(executor);
  return lines.join("\n");
}

describe("no statement of the ledger reads more of it than it is about", () => {
  test.each<[string, string, (executor: Executor) => Promise<unknown>]>([
    ["a claim", "_pk", (db) => claimKey(db, "account1", wanted)],
    ["a result", "_pk", (db) => completeKey(db, "account1", wanted)],
    [
      "what a deletion takes",
      "_by_record",
      (db) =>
        deleteLockedKycs(db, "account1", [{ kyc: record, event: someEvent("account1", record.id) }], {
          digestCustomer: () => Buffer.alloc(16),
          enforcedRetention: null,
        }),
    ],
    [
      "a step of a rotation",
      "_pk",
      (db) =>
        replaceResults(
          db,
          [7, 8, 9].map((n) => ({
            from: { accountId: `account${n % 2}`, keyHash: `hash${n}`, sealedResult: "sealed" },
            sealed: "anew",
          })),
        ),
    ],
    ["a sweep", "_by_time", (db) => removeExpiredKeys(db, 10)],
  ])("%s", async (_name, index, work) => {
    const plan = await explain(work);
    expect(plan).toMatch(new RegExp(`Index Scan using idempotency_keys\\w*${index}`));
    expect(plan).not.toContain("Seq Scan on idempotency_keys");
    expect(plan.match(/Rows Removed by (Join )?Filter: \d\d/)).toBeNull();
  });
});
