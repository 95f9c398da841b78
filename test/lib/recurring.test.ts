import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startRecurring } from "../../src/lib/recurring.ts";

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => vi.useRealTimers());

/** A job that is run every two seconds and fails as told. `reported` has the failures that it was told of. */
function job(fails: () => boolean) {
  const reported: string[] = [];
  let runs = 0;
  const stop = startRecurring({
    work: async () => {
      runs += 1;
      if (fails()) throw new Error(`run ${runs}`);
    },
    pause: () => 2000,
    onFailure: (error) => reported.push(String(error)),
  });
  return { reported, stop, runs: () => runs };
}

test("of failures in a row the first is reported, and another one each hour", async () => {
  const { reported, stop, runs } = job(() => true);
  await vi.advanceTimersByTimeAsync(3_599_000);
  expect(runs()).toBe(1800);
  expect(reported).toEqual(["Error: run 1"]);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(reported).toEqual(["Error: run 1", "Error: run 1801"]);
  await stop();
});

test("a failure after a success is reported at once", async () => {
  let fails = true;
  const { reported, stop } = job(() => fails);
  await vi.advanceTimersByTimeAsync(3000);
  fails = false;
  await vi.advanceTimersByTimeAsync(2000);
  fails = true;
  await vi.advanceTimersByTimeAsync(4000);
  expect(reported).toEqual(["Error: run 1", "Error: run 4"]);
  await stop();
});

test("a failure after the stop is not reported, and no run follows", async () => {
  let end = () => {};
  const reported: unknown[] = [];
  let runs = 0;
  const stop = startRecurring({
    work: () => {
      runs += 1;
      return new Promise((_, reject) => {
        end = () => reject(new Error("stopped"));
      });
    },
    pause: () => 0,
    onFailure: (error) => reported.push(error),
  });
  await vi.advanceTimersByTimeAsync(10);
  const stopped = stop();
  end();
  await stopped;
  await vi.advanceTimersByTimeAsync(10_000);
  expect([runs, reported]).toEqual([1, []]);
});
