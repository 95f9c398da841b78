import { setImmediate as nextTurn } from "node:timers/promises";
import { AppError, lateAnswer } from "../errors.ts";
import { currentScope, type RequestSpan, withinSpans } from "../lib/span-scope.ts";
import { untilTurn } from "../lib/turns.ts";
import type { Database } from "./client.ts";

/** Statements of one lane that may be on their way at once. */
const IN_FLIGHT = 2;
/** How long a statement is waited for before another one goes beside it: the fewer, the cheaper. Milliseconds. */
const SLOW = 10;
/** Keys of one statement, and answers of one turn, at most. */
const LARGEST_BATCH = 100;

interface Asker<Value> {
  resolve(value: Value): void;
  reject(error: unknown): void;
}

interface Entry<Key, Value> {
  key: Key;
  /** Milliseconds. */
  askedAt: number;
  askers: Asker<Value>[];
  /** Of the requests that ask, if they are traced. */
  spans: RequestSpan[];
}

interface Lane<Key, Value> {
  /** How many keys a statement of it has, and how many are answered in one turn, at most. */
  largest: number;
  /** By what tells its keys apart: who asks the same before it is sent gets the same answer. */
  waiting: Map<unknown, Entry<Key, Value>>;
  /** Places of the queue that it has for as many statements as what waits will need. */
  places: number;
  inFlight: number;
  /** When the last statement was sent. Milliseconds. */
  sentAt: number;
  /** Looks again whether another statement may go. */
  timer: NodeJS.Timeout | undefined;
}

/**
 * Groups reads that are asked for in one turn of the event loop, and while a statement of their lane is under way that
 * is not slow, into one statement. A read joins only a statement that was not sent yet, so it sees everything that was
 * committed before it was asked for. Writes can be grouped alike, where a statement that fails has done nothing.
 * `laneOf` keeps apart what must not share a statement: it starts with the account. Keys with the same `questionOf`
 * are the same question: those who ask it share one value, which nobody may change. `read` answers the keys in their
 * order, up to `largestOf` of them, which is one number for a lane: the more is made of each, the fewer should be
 * answered in one turn of the event loop. What waits takes places of the database's queue, and fails with UNAVAILABLE
 * where there is none or where it has waited for as long as the queue has patience.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: the closures share the batch in the making.
export function batched<Key extends object, Value>(
  laneOf: (key: Key) => string,
  questionOf: (key: Key) => unknown,
  read: (db: Database, keys: [Key, ...Key[]]) => Promise<Value[]>,
  largestOf = (_key: Key) => LARGEST_BATCH,
): (db: Database, key: Key) => Promise<Value> {
  const lanesOf = new WeakMap<Database, Map<string, Lane<Key, Value>>>();

  /** Resolves with what it failed with, if it did. */
  async function send(db: Database, batch: Entry<Key, Value>[], largest: number): Promise<unknown> {
    try {
      const keys = batch.map(({ key }) => key) as [Key, ...Key[]];
      const spans = batch.flatMap((entry) => entry.spans);
      const values = await withinSpans(spans, () => read(db, keys));
      let given = 0;
      for (const [index, { askers }] of batch.entries()) {
        for (const asker of askers) {
          // A thousand who asked the same would keep all others, new connections and probes too, waiting for seconds.
          if (given % largest === 0) {
            if (given > 0) await nextTurn();
            const turn = untilTurn();
            if (turn) await turn;
          }
          asker.resolve(values[index] as Value);
          given += 1;
        }
      }
    } catch (error) {
      // Nobody is to fail for what another one asked. A database that can't be reached fails for all alike.
      let failure: unknown = error;
      for (const entry of batch) {
        if (batch.length === 1 || failure instanceof AppError) fail(entry, failure);
        else failure = await send(db, [entry], largest);
      }
      return failure;
    }
  }

  function flush(
    db: Database,
    lanes: Map<string, Lane<Key, Value>>,
    name: string,
    lane: Lane<Key, Value>,
  ): void {
    while (lane.waiting.size > 0 && mayGo(lane)) {
      dropLate(lane, db.queue.patience);
      const batch = [...lane.waiting].slice(0, lane.largest);
      for (const [question] of batch) lane.waiting.delete(question);
      for (; lane.places > statementsOf(lane); lane.places -= 1) db.queue.leave();
      if (batch.length === 0) break;
      lane.inFlight += 1;
      lane.sentAt = performance.now();
      send(
        db,
        batch.map(([, entry]) => entry),
        lane.largest,
      ).finally(() => {
        lane.inFlight -= 1;
        flush(db, lanes, name, lane);
      });
    }
    if (lane.waiting.size > 0 && lane.inFlight < IN_FLIGHT) {
      lane.timer ??= setTimeout(() => {
        lane.timer = undefined;
        flush(db, lanes, name, lane);
      }, SLOW);
    }
    if (lane.inFlight === 0 && lane.waiting.size === 0 && lanes.get(name) === lane) lanes.delete(name);
  }

  return (db, key) => {
    let lanes = lanesOf.get(db);
    if (!lanes) {
      lanes = new Map();
      lanesOf.set(db, lanes);
    }
    const name = laneOf(key);
    let lane = lanes.get(name);
    if (!lane) {
      lane = {
        ...{ largest: Math.min(largestOf(key), LARGEST_BATCH), waiting: new Map(), places: 0 },
        ...{ inFlight: 0, sentAt: 0, timer: undefined },
      };
      lanes.set(name, lane);
    }
    const { waiting } = lane;
    const question = questionOf(key);
    const span = currentScope()?.owner;
    return new Promise((resolve, reject) => {
      const entry = waiting.get(question);
      if (entry) {
        entry.askers.push({ resolve, reject });
        if (span) entry.spans.push(span);
        return;
      }
      if (waiting.size === lane.places * lane.largest) {
        db.queue.enter();
        lane.places += 1;
      }
      if (waiting.size === 0) setImmediate(flush, db, lanes, name, lane);
      waiting.set(question, {
        ...{ key, askedAt: performance.now(), askers: [{ resolve, reject }] },
        spans: span ? [span] : [],
      });
    });
  };
}

/** Whether another statement of a lane may be sent now. */
function mayGo({ largest, waiting, inFlight, sentAt }: Lane<unknown, never>): boolean {
  if (inFlight === 0) return true;
  return inFlight < IN_FLIGHT && (waiting.size >= largest || performance.now() - sentAt >= SLOW);
}

/** How many statements what waits in a lane will need. */
function statementsOf({ largest, waiting }: Lane<unknown, never>): number {
  return Math.ceil(waiting.size / largest);
}

/** Afterwards nothing waits in a lane that has waited for so long. What is under way lets the next go in that time. */
function dropLate<Value>(
  { waiting }: { waiting: Map<unknown, Entry<unknown, Value>> },
  patience: number,
): void {
  const longAgo = performance.now() - patience;
  for (const [question, entry] of waiting) {
    if (entry.askedAt > longAgo) break;
    waiting.delete(question);
    fail(entry, lateAnswer());
  }
}

function fail<Value>({ askers }: { askers: Asker<Value>[] }, error: unknown): void {
  for (const asker of askers) asker.reject(error);
}
