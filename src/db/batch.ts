import { AppError } from "../errors.ts";
import type { Executor } from "./client.ts";

/** Statements of one lane that may be on their way at once: one that runs, and one that waits behind it. */
const IN_FLIGHT = 2;
/** Keys of one statement. */
const LARGEST_BATCH = 100;

interface Asker<Value> {
  resolve(value: Value): void;
  reject(error: unknown): void;
}

interface Entry<Key, Value> {
  key: Key;
  askers: Asker<Value>[];
}

interface Lane<Key, Value> {
  /** By the text of the key: who asks the same before it is sent gets the same answer. */
  waiting: Map<string, Entry<Key, Value>>;
  inFlight: number;
}

/**
 * Groups reads that are asked for in one turn of the event loop, and while two statements of their lane are under
 * way, into one statement. A read joins only a statement that was not sent yet, so it sees everything that was
 * committed before it was asked for. Writes can be grouped alike, where a statement that fails has done nothing.
 * `laneOf` keeps apart what must not share a statement: it starts with the account. Keys with the same `textOf` are
 * the same question: those who ask it share one value, which nobody may change. `read` answers the keys in their
 * order.
 */
export function batched<Key extends object, Value>(
  laneOf: (key: Key) => string,
  textOf: (key: Key) => string,
  read: (db: Executor, keys: [Key, ...Key[]]) => Promise<Value[]>,
): (db: Executor, key: Key) => Promise<Value> {
  const lanesOf = new WeakMap<Executor, Map<string, Lane<Key, Value>>>();

  async function send(db: Executor, batch: Entry<Key, Value>[]): Promise<void> {
    try {
      const values = await read(db, batch.map(({ key }) => key) as [Key, ...Key[]]);
      for (const [index, { askers }] of batch.entries()) {
        for (const asker of askers) asker.resolve(values[index] as Value);
      }
    } catch (error) {
      // Nobody is to fail for what another one asked. A database that can't be reached fails for all alike.
      if (batch.length > 1 && !(error instanceof AppError))
        for (const entry of batch) await send(db, [entry]);
      else for (const { askers } of batch) for (const asker of askers) asker.reject(error);
    }
  }

  function flush(
    db: Executor,
    lanes: Map<string, Lane<Key, Value>>,
    name: string,
    lane: Lane<Key, Value>,
  ): void {
    while (lane.waiting.size > 0 && lane.inFlight < IN_FLIGHT) {
      const batch = [...lane.waiting].slice(0, LARGEST_BATCH);
      for (const [text] of batch) lane.waiting.delete(text);
      lane.inFlight += 1;
      send(
        db,
        batch.map(([, entry]) => entry),
      ).finally(() => {
        lane.inFlight -= 1;
        flush(db, lanes, name, lane);
      });
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
      lane = { waiting: new Map(), inFlight: 0 };
      lanes.set(name, lane);
    }
    const { waiting } = lane;
    const text = textOf(key);
    return new Promise((resolve, reject) => {
      if (waiting.size === 0) setImmediate(flush, db, lanes, name, lane);
      const entry = waiting.get(text);
      if (entry) entry.askers.push({ resolve, reject });
      else waiting.set(text, { key, askers: [{ resolve, reject }] });
    });
  };
}
