import { monitorEventLoopDelay } from "node:perf_hooks";
import { expect, test } from "vitest";
import { runInTurn, untilTurn } from "../../src/lib/turns.ts";

/** Milliseconds. */
function work(time: number): void {
  const until = performance.now() + time;
  while (performance.now() < until);
}

/** Resolves when it was called as often as this. */
function countdown(count: number): { done: () => void; all: Promise<void> } {
  let left = count;
  let resolve = () => {};
  const all = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { all, done: () => --left === 0 && resolve() };
}

test("jobs beyond what fits one turn run in later turns, in their order, and all else has its turns between", async () => {
  const ran: number[] = [];
  const { done, all } = countdown(100);
  let turns = 0;
  const count = () => {
    turns += 1;
    if (ran.length < 100) setImmediate(count);
  };
  setImmediate(count);
  for (let n = 0; n < 100; n++) {
    runInTurn(() => {
      work(5);
      ran.push(n);
      done();
    });
  }
  expect(ran.length).toBeLessThan(10);
  await all;
  expect(ran).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(turns).toBeGreaterThan(10);
});

test("what a job only resolves counts as well", async () => {
  const { done, all } = countdown(60);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  for (let n = 0; n < 60; n++) {
    runInTurn(() => {
      // As a handler does that waits for something at first.
      void Promise.resolve()
        .then(() => {})
        .then(() => {
          if (n > 0) work(10);
          done();
        });
    });
    if (n === 0) work(25);
  }
  delay.enable();
  await all;
  expect(delay.max / 1e6).toBeLessThan(150);
});

test("a job that waits for a turn gets it at once while there is time, and in order otherwise", async () => {
  await new Promise((resolve) => setImmediate(resolve));
  expect(untilTurn()).toBeUndefined();
  work(25);
  const order: string[] = [];
  const first = untilTurn()?.then(() => order.push("first"));
  runInTurn(() => order.push("second"));
  const third = untilTurn()?.then(() => order.push("third"));
  await Promise.all([first, third]);
  expect(order).toEqual(["first", "second", "third"]);
});
