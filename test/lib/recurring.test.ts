import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { startRecurring } from "../../src/lib/recurring.ts";

beforeEach(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => vi.useRealTimers());

/** A job that is run every two seconds and fails as told. `reported` has the runs whose failures it was told of. */
function job(fails: (run: number) => unknown) {
  const reported: number[] = [];
  let runs = 0;
  const stop = startRecurring({
    work: async () => {
      runs += 1;
      const failure = fails(runs);
      if (failure) throw failure;
    },
    pause: () => 2000,
    onFailure: () => reported.push(runs),
  });
  return { reported, stop, runs: () => runs };
}

test("of failures in a row for one reason the first is reported, and another one each hour", async () => {
  const { reported, stop, runs } = job(() => new Error("no connection"));
  await vi.advanceTimersByTimeAsync(3_599_000);
  expect(runs()).toBe(1800);
  expect(reported).toEqual([1]);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(reported).toEqual([1, 1801]);
  await stop();
});

test("a failure for another reason is reported at once, also if only its cause is another", async () => {
  const failed = (cause?: unknown) => new Error("the database failed", { cause });
  const failures = [failed(), new Error("disk full"), failed(new Error("no right")), failed("gone"), "text"];
  const { reported, stop } = job((run) => failures[Math.floor((run - 1) / 3) % failures.length]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(reported).toEqual([1, 4, 7, 10, 13]);
  await stop();
});

test("of failures whose texts are all different a few are reported each hour", async () => {
  const { reported, stop } = job((run) => new Error(`port ${run}`));
  await vi.advanceTimersByTimeAsync(3_599_000);
  expect(reported).toEqual([1, 2, 3, 4, 5]);
  await vi.advanceTimersByTimeAsync(3_600_000);
  expect(reported.slice(5)).toEqual([1801, 1802, 1803, 1804, 1805]);
  await stop();
});

test("a failure whose causes form a circle is reported", async () => {
  const circle = new Error("circle");
  circle.cause = circle;
  const { reported, stop } = job(() => circle);
  await vi.advanceTimersByTimeAsync(4000);
  expect(reported).toEqual([1]);
  await stop();
});

test("a failure after a success is reported at once", async () => {
  let fails = true;
  const { reported, stop } = job(() => fails && new Error("no connection"));
  await vi.advanceTimersByTimeAsync(3000);
  fails = false;
  await vi.advanceTimersByTimeAsync(2000);
  fails = true;
  await vi.advanceTimersByTimeAsync(4000);
  expect(reported).toEqual([1, 4]);
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
