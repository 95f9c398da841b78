import { setImmediate as nextTurn } from "node:timers/promises";
import { AppError, lateAnswer } from "../errors.ts";
import { currentScope, type RequestSpan, withinSpans } from "../lib/span-scope.ts";
import { untilTurn } from "../lib/turns.ts";
import type { Database } from "./client.ts";

/** The maximum number of concurrent statements of one lane. */
const IN_FLIGHT = 2;
/** How long a running statement delays the next one of its lane. Fewer statements cost less. */
const SLOW_MS = 10;
/** The maximum number of keys in one statement, and of answers in one turn of the event loop. */
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
  /** The spans of the requests that wait for it, if they are traced. */
  spans: RequestSpan[];
}

interface Lane<Key, Value> {
  /** The maximum number of keys in one of its statements, and of answers in one turn of the event loop. */
  largest: number;
  /** Keyed by question: callers that ask the same before it is sent share the answer. */
  waiting: Map<unknown, Entry<Key, Value>>;
  /** Its slots in the database's queue: one for each statement that the waiting keys will need. */
  slots: number;
  inFlight: number;
  /** When the last statement was sent. Milliseconds. */
  sentAt: number;
  /** Checks later whether another statement may be sent. */
  timer: NodeJS.Timeout | undefined;
}

/**
 * Groups reads into one statement: those requested in one turn of the event loop, and those requested while another statement
 * of their lane is running and not slow. A read joins only a statement that has not been sent, so it sees everything that was
 * committed before it was requested. Writes can be grouped, too, if a failed statement has no effect. `laneOf` separates keys
 * that must not share a statement; it must begin with the account. Keys with the same `questionOf` share one value, which
 * callers must not change. `read` returns the values in the order of the keys, at most `largestOf` of them, which is constant
 * for a lane; it should be lower if processing one value takes longer. Waiting keys occupy slots of the database's queue. They
 * fail with UNAVAILABLE if the queue is full, or if they wait longer than its `patience`.
 */
// biome-ignore lint/complexity/noExcessiveLinesPerFunction: the closures share the batch in the making.
export function batched<Key extends object, Value>(
  laneOf: (key: Key) => string,
  questionOf: (key: Key) => unknown,
  read: (db: Database, keys: [Key, ...Key[]]) => Promise<Value[]>,
  largestOf = (_key: Key) => LARGEST_BATCH,
): (db: Database, key: Key) => Promise<Value> {
  const lanesOf = new WeakMap<Database, Map<string, Lane<Key, Value>>>();

  /** Resolves with its failure, if it failed. */
  async function send(db: Database, batch: Entry<Key, Value>[], largest: number): Promise<unknown> {
    try {
      const keys = batch.map(({ key }) => key) as [Key, ...Key[]];
      const spans = batch.flatMap((entry) => entry.spans);
      const values = await withinSpans(spans, () => read(db, keys));
      let given = 0;
      for (const [index, { askers }] of batch.entries()) {
        for (const asker of askers) {
          // Answering a thousand callers in one turn would delay all other work, including probes, by seconds.
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
      // A key must not fail because of another key, so each is tried alone. If the database can't be reached, all fail.
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
    while (lane.waiting.size > 0 && maySend(lane)) {
      dropLate(lane, db.queue.patience);
      const batch = [...lane.waiting].slice(0, lane.largest);
      for (const [question] of batch) lane.waiting.delete(question);
      for (; lane.slots > statementsOf(lane); lane.slots -= 1) db.queue.leave();
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
      }, SLOW_MS);
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
        ...{ largest: Math.min(largestOf(key), LARGEST_BATCH), waiting: new Map(), slots: 0 },
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
      if (waiting.size === lane.slots * lane.largest) {
        db.queue.enter();
        lane.slots += 1;
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
function maySend({ largest, waiting, inFlight, sentAt }: Lane<unknown, never>): boolean {
  if (inFlight === 0) return true;
  return inFlight < IN_FLIGHT && (waiting.size >= largest || performance.now() - sentAt >= SLOW_MS);
}

/** The number of statements that the waiting keys of a lane will need. */
function statementsOf({ largest, waiting }: Lane<unknown, never>): number {
  return Math.ceil(waiting.size / largest);
}

/** Fails the keys of a lane that have waited longer than `patience`. */
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
