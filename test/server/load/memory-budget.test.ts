import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Holder, MemoryBudget } from "../../../src/server/load/memory-budget.ts";

test("those that hold most give up first, and no more of them than necessary", async () => {
  const budget = new MemoryBudget(100);
  const gone: string[] = [];
  const holder = (name: string, can = true): Holder => ({
    giveUp: () => {
      if (can) gone.push(name);
      return can;
    },
  });
  const [small, large, busy, largest] = [
    holder("small"),
    holder("large"),
    holder("busy", false),
    holder("largest"),
  ];
  budget.hold(small, 10);
  budget.hold(busy, 60);
  budget.hold(large, 25);
  await turn();
  expect(gone).toEqual([]);
  budget.hold(largest, 90);
  await turn();
  expect(gone).toEqual(["largest"]);
  expect(budget.total).toBe(95);
  budget.hold(small, 40);
  await turn();
  expect(gone).toEqual(["largest", "small"]);
  budget.hold(busy, 0);
  budget.hold(large, 0);
  expect(budget.total).toBe(0);
});

test("what is over by the end of the turn costs nobody anything", async () => {
  const budget = new MemoryBudget(100);
  const gone: number[] = [];
  for (let n = 0; n < 50; n++) {
    const holder: Holder = { giveUp: () => gone.push(n) > 0 };
    budget.hold(holder, 90);
    budget.hold(holder, 0);
  }
  await turn();
  expect(gone).toEqual([]);
});
