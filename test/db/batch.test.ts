import { setImmediate as nextRound, setTimeout as wait } from "node:timers/promises";
import { expect, test } from "vitest";
import { batched } from "../../src/db/batch.ts";
import type { Database } from "../../src/db/client.ts";
import { StatementQueue } from "../../src/db/pool/statement-queue.ts";
import { AppError } from "../../src/errors.ts";

interface Key {
  account: string;
  number: number;
}

/** A database that gets no statement: reads are distinguished only by their database. */
const database = (queue = new StatementQueue()) => ({ queue }) as Database;

/** A reader that answers when it is let, and what it was asked. */
function recorder(
  answer: (keys: Key[]) => Promise<number[]> = async (keys) => keys.map(({ number }) => number * 2),
  largest?: number,
) {
  const asked: Key[][] = [];
  const read = batched<Key, number>(
    ({ account }) => account,
    ({ number }) => String(number),
    (_db, keys) => {
      asked.push([...keys]);
      return answer(keys);
    },
    largest === undefined ? undefined : () => largest,
  );
  return { asked, read };
}

test("what is asked in one turn is one read for each lane, and each asker gets its own answer", async () => {
  const { asked, read } = recorder();
  const db = database();
  const keys = Array.from({ length: 20 }, (_, number) => ({ account: number % 2 ? "odd" : "even", number }));
  expect(await Promise.all(keys.map((key) => read(db, key)))).toEqual(keys.map(({ number }) => number * 2));
  expect(asked).toHaveLength(2);
  for (const batch of asked) expect(new Set(batch.map(({ account }) => account)).size).toBe(1);
});

test("who asks the same shares one key", async () => {
  const { asked, read } = recorder();
  const db = database();
  const answers = await Promise.all(Array.from({ length: 5 }, () => read(db, { account: "a", number: 4 })));
  expect(answers).toEqual([8, 8, 8, 8, 8]);
  expect(asked).toEqual([[{ account: "a", number: 4 }]]);
});

test("databases share nothing", async () => {
  const { asked, read } = recorder();
  await Promise.all([
    read(database(), { account: "a", number: 1 }),
    read(database(), { account: "a", number: 1 }),
  ]);
  expect(asked).toHaveLength(2);
});

test("at most two reads of a lane are in progress, of at most a hundred keys, and what waits goes with the next", async () => {
  let inProgress = 0;
  let most = 0;
  const { asked, read } = recorder(async (keys) => {
    inProgress += 1;
    most = Math.max(most, inProgress);
    await nextRound();
    inProgress -= 1;
    return keys.map(({ number }) => number);
  });
  const db = database();
  const answers = await Promise.all(
    Array.from({ length: 450 }, (_, number) => read(db, { account: "a", number })),
  );
  expect(answers).toEqual(Array.from({ length: 450 }, (_, number) => number));
  expect(most).toBe(2);
  expect(asked.map((keys) => keys.length)).toEqual([100, 100, 100, 100, 50]);
});

test("of keys that stand for much fewer are read at once, and take as many places of the queue", async () => {
  const { asked, read } = recorder(undefined, 4);
  const db = database(new StatementQueue(3));
  const answers = await Promise.allSettled(
    Array.from({ length: 13 }, (_, number) => read(db, { account: "a", number })),
  );
  expect(answers.slice(0, 12)).toEqual(
    Array.from({ length: 12 }, (_, number) => ({ status: "fulfilled", value: number * 2 })),
  );
  expect(answers[12]).toMatchObject({ reason: { code: "UNAVAILABLE" } });
  expect(asked.map((keys) => keys.length)).toEqual([4, 4, 4]);
});

test("many who asked the same are answered in their order, over several turns of the event loop", async () => {
  const { asked, read } = recorder(undefined, 10);
  const db = database();
  let turn = 0;
  let goingOn = true;
  const turns = (async () => {
    for (; goingOn; turn += 1) await nextRound();
  })();
  const order: number[] = [];
  const inTurn = new Map<number, number>();
  await Promise.all(
    Array.from({ length: 95 }, async (_, asker) => {
      expect(await read(db, { account: "a", number: asker % 2 })).toBe((asker % 2) * 2);
      order.push(asker);
      inTurn.set(turn, (inTurn.get(turn) ?? 0) + 1);
    }),
  );
  goingOn = false;
  await turns;
  expect(asked).toHaveLength(1);
  expect(order).toEqual([...order.filter((asker) => asker % 2 === 0), ...order.filter((asker) => asker % 2)]);
  expect(Math.max(...inTurn.values())).toBe(10);
});

test("what is asked meanwhile waits for a read in progress, together, unless that is slow", async () => {
  let release = () => {};
  const slow = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { asked, read } = recorder(async (keys) => {
    if (keys[0]?.number === 1) await slow;
    return keys.map(({ number }) => number);
  });
  const db = database();
  const first = read(db, { account: "a", number: 1 });
  await nextRound();
  await nextRound();
  const second = read(db, { account: "a", number: 2 });
  await nextRound();
  const third = read(db, { account: "a", number: 3 });
  await nextRound();
  expect(asked).toHaveLength(1);
  expect(await Promise.all([second, third])).toEqual([2, 3]);
  expect(asked.map((keys) => keys.length)).toEqual([1, 2]);
  release();
  expect(await first).toBe(1);
});

test("a read joins only what was not sent yet", async () => {
  const { asked, read } = recorder();
  const db = database();
  const first = read(db, { account: "a", number: 1 });
  await nextRound();
  await nextRound();
  const second = read(db, { account: "a", number: 1 });
  expect(await Promise.all([first, second])).toEqual([2, 2]);
  expect(asked).toHaveLength(2);
});

test("nobody fails for what another one asked", async () => {
  const { read } = recorder(async (keys) => {
    if (keys.some(({ number }) => number === 3)) throw new RangeError("three");
    return keys.map(({ number }) => number);
  });
  const db = database();
  const answers = await Promise.allSettled([1, 2, 3, 4].map((number) => read(db, { account: "a", number })));
  expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
});

test("a database that can't be reached fails for all alike, without another try, and later reads work", async () => {
  let reachable = false;
  const { asked, read } = recorder(async (keys) => {
    if (!reachable) throw new AppError("UNAVAILABLE", "no");
    return keys.map(({ number }) => number);
  });
  const db = database();
  const answers = await Promise.allSettled([1, 2, 3].map((number) => read(db, { account: "a", number })));
  expect(answers.every(({ status }) => status === "rejected")).toBe(true);
  expect(asked).toHaveLength(1);
  reachable = true;
  expect(await read(db, { account: "a", number: 7 })).toBe(7);
});

test("what waits behind others fails once it has waited too long, and is not sent", async () => {
  const { asked, read } = recorder(async (keys) => {
    await wait(150);
    return keys.map(({ number }) => number);
  });
  const db = database(new StatementQueue(Number.POSITIVE_INFINITY, 100));
  const answers = await Promise.allSettled(
    Array.from({ length: 350 }, (_, number) => read(db, { account: "a", number })),
  );
  const [sent, dropped] = [answers.slice(0, 200), answers.slice(200)];
  expect(sent.every(({ status }) => status === "fulfilled")).toBe(true);
  for (const answer of dropped) expect(answer).toMatchObject({ reason: { code: "UNAVAILABLE" } });
  expect(asked).toHaveLength(2);
  expect(await read(db, { account: "a", number: 7 })).toBe(7);
});

test("what waits takes places of the queue: one for as much as one statement has, given back when it is sent", async () => {
  const { asked, read } = recorder();
  const queue = new StatementQueue(2);
  const db = database(queue);
  const answers = await Promise.allSettled(
    Array.from({ length: 201 }, (_, number) => read(db, { account: "a", number })),
  );
  expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(200);
  expect(answers[200]).toMatchObject({ reason: { code: "UNAVAILABLE" } });
  expect(asked).toHaveLength(2);
  for (let n = 0; n < 2; n++) queue.enter();
  expect(() => queue.enter()).toThrow();
});

test("of what is sent again one by one, nothing is tried any more once the database can't be reached", async () => {
  const { asked, read } = recorder(async (keys) => {
    throw keys.length > 1 ? new RangeError("one of them") : new AppError("UNAVAILABLE", "no");
  });
  const db = database();
  const answers = await Promise.allSettled([1, 2, 3].map((number) => read(db, { account: "a", number })));
  for (const answer of answers) expect(answer).toMatchObject({ reason: { code: "UNAVAILABLE" } });
  expect(asked).toHaveLength(2);
});
