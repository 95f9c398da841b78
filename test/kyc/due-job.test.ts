import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { startDueJob } from "../../src/kyc/lifecycle/due-job.ts";
import { createTestDatabase } from "../support/database.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test("groups whose batches always fail do not keep the others from their turn, however many of them come first", async () => {
  const failing = Array.from({ length: 6 }, (_, n) => `a${n}`);
  const good = ["x", "y"];
  const left = new Set(good);
  let failures = 0;
  const stop = startDueJob<string, never>({
    ...{ db: database.db, job: "of a test", timing: { lookMs: 5, stuckMs: 5 } },
    look: async () => [...failing, ...left],
    begin: () => ({
      batch: async (group) => {
        if (failing.includes(group)) throw new Error("can't be done");
        left.delete(group);
        return { done: 1, last: undefined };
      },
      onEnd: () => {},
    }),
    onNoneDue: () => {},
    onFailure: () => {
      failures += 1;
    },
  });
  onTestFinished(stop);
  await expect.poll(() => [...left]).toEqual([]);
  expect(failures).toBeGreaterThan(0);
});
