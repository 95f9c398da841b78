// What subscribers of changes cost, and how soon they get a change: many streams of one gateway.
import { setTimeout as wait } from "node:timers/promises";
import { memory, waitFor } from "./children.mjs";
import { startServer } from "./servers.mjs";
import { median } from "./statistics.mjs";
import { openStream } from "./streams.mjs";

/** Streams that are opened first: what the first ones need once is none of the others' memory. */
const FIRST = 200;
const SUBSCRIBERS = 1000;
/** Streams that are opened at once: no gateway finds itself overloaded by them. */
const AT_ONCE = 50;
const CHANGES = 100;
/** From one change to the next. Milliseconds. */
const PAUSE_MS = 200;
/** How long the gateway has nothing to do before its memory is looked at. Milliseconds. */
const QUIET_MS = 10_000;
/**
 * V8 enlarges the space for new objects, by up to 48 MB, while much is allocated, whatever of it is kept. That is no
 * memory of subscribers, so it keeps its size here.
 */
const FIXED_SPACE = "--max-semi-space-size=1";
/** Goals: kilobytes of one subscriber, and milliseconds until 99 of 100 have a change. */
const MEMORY_GOAL = 30;
const LATENCY_GOAL = 500;

/**
 * Latencies are from the answer to the write, which comes after its commit, in milliseconds.
 *
 * @typedef {{ kilobytes: number, p50: number, p99: number, worst: number,
 *   verdicts: import("./report.mjs").Verdict[] }} Subscribed
 */

/**
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 * @returns {Promise<Subscribed>}
 */
export async function measureSubscribers(session, { pool }, say) {
  const kilobytes = await withGateway(session, pool, { NODE_OPTIONS: FIXED_SPACE }, async (gateway) => {
    await gateway.subscribe(FIRST);
    const before = await restingMemory(gateway);
    await gateway.subscribe(SUBSCRIBERS);
    const after = await restingMemory(gateway);
    say(`${before.toFixed(1)} MB with ${FIRST}, ${after.toFixed(1)} MB with ${SUBSCRIBERS} more`);
    return (1000 * (after - before)) / SUBSCRIBERS;
  });
  const latencies = await withGateway(session, pool, {}, async (gateway) => {
    await gateway.subscribe(SUBSCRIBERS);
    return measureLatencies(gateway);
  });
  const at = (/** @type {number} */ share) =>
    Number(latencies[Math.min(Math.floor(share * latencies.length), latencies.length - 1)]);
  const p99 = at(0.99);
  const verdicts = [
    { what: "KB for a subscriber", measured: kilobytes, goal: MEMORY_GOAL, passed: kilobytes < MEMORY_GOAL },
    { what: "ms to 99 % of them", measured: p99, goal: LATENCY_GOAL, passed: p99 < LATENCY_GOAL },
  ];
  return { kilobytes, p50: at(0.5), p99, worst: at(1), verdicts };
}

/**
 * A gateway and its subscribers. `arrivals` has the times at which each change arrived, by the id of its record.
 *
 * @typedef {object} Subscribable
 * @property {number} pid
 * @property {Map<string, number[]>} arrivals
 * @property {(count: number) => Promise<void>} subscribe opens so many streams more
 * @property {() => Promise<string>} change adds a record, and returns its id
 */

/**
 * @template T
 * @param {import("./session.mjs").Session} session
 * @param {number} pool
 * @param {Record<string, string>} variables
 * @param {(gateway: Subscribable) => Promise<T>} work
 * @returns {Promise<T>}
 */
async function withGateway({ database, folder, token }, pool, variables, work) {
  const { url, pid, stop } = await startServer("gateway", {
    ...{ database, pool, folder },
    // On a busy machine a gateway would refuse writes, and there would be no figures instead of rough ones.
    variables: { MAX_EVENT_LOOP_DELAY: "1 h", ...variables },
  });
  const arrivals = /** @type {Map<string, number[]>} */ (new Map());
  const streams = /** @type {Stream[]} */ ([]);
  const subscribe = async (/** @type {number} */ count) => {
    for (const wanted = streams.length + count; streams.length < wanted; ) {
      for (let n = 0; n < AT_ONCE; n++) streams.push(follow(url, token, arrivals));
      await waitFor(() => (streams.every(({ isOpen }) => isOpen) ? true : undefined), {
        ...{ timeout: 60_000, what: `${streams.length} streams to open` },
      });
    }
  };
  try {
    return await work({ pid, arrivals, subscribe, change: () => change(url, token) });
  } finally {
    for (const { socket } of streams) socket.destroy();
    await stop();
  }
}

/** Resident memory of a gateway whose streams have had a change, and that has nothing to do now. MB. @param {Subscribable} gateway */
async function restingMemory({ pid, change }) {
  await change();
  await wait(QUIET_MS);
  const looks = [];
  for (let n = 0; n < 5; n++) {
    looks.push(memory(pid).resident);
    await wait(QUIET_MS / 5);
  }
  return median(looks);
}

/** @typedef {{ socket: import("node:net").Socket, isOpen: boolean }} Stream */

const SUBSCRIPTION =
  "subscription { kycChanged { cursor kycId kyc { customerId verificationStatus version } } }";

/**
 * Opens a stream that notes when each change arrives.
 *
 * @param {string} url
 * @param {string} token
 * @param {Map<string, number[]>} arrivals by the id of the record
 * @returns {Stream}
 */
function follow(url, token, arrivals) {
  const stream = { socket: openStream(url, token, SUBSCRIPTION), isOpen: false };
  let rest = "";
  stream.socket.setEncoding("latin1").on("data", (/** @type {string} */ chunk) => {
    const now = performance.now();
    const text = rest + chunk;
    const end = text.lastIndexOf("\n\n") + 1;
    rest = text.slice(end);
    stream.isOpen ||= text.includes("\nid: ");
    for (const [, id = ""] of text.slice(0, end).matchAll(/"kycId":"(\w+)"/g)) {
      const times = arrivals.get(id) ?? [];
      arrivals.set(id, times);
      times.push(now);
    }
  });
  return stream;
}

/** Adds a record, and returns its id. @param {string} url @param {string} token */
async function change(url, token) {
  const response = await fetch(`${url}/v1/kyc`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({
      ...{ customer_id: "bench", verification_status: "pending" },
      ...{ document_type: "visa", document_number: "100000000" },
    }),
  });
  if (response.status !== 201) throw new Error(`a write was answered with ${response.status}`);
  return /** @type {string} */ ((await response.json()).id);
}

/**
 * Writes changes one after another, and returns how long each took to each subscriber, the shortest first. Fails if one of
 * them does not arrive, or not once.
 *
 * @param {Subscribable} gateway
 */
async function measureLatencies({ arrivals, change }) {
  const written = /** @type {Map<string, number>} */ (new Map());
  for (let n = 0; n < CHANGES; n++) {
    written.set(await change(), performance.now());
    await wait(PAUSE_MS);
  }
  const isThere = (/** @type {string} */ id) => (arrivals.get(id)?.length ?? 0) >= SUBSCRIBERS;
  await waitFor(() => ([...written.keys()].every(isThere) ? true : undefined), {
    ...{ timeout: 60_000, what: "all changes to arrive" },
  });
  const latencies = [...written].flatMap(([id, at]) => {
    const times = arrivals.get(id) ?? [];
    if (times.length !== SUBSCRIBERS) throw new Error(`${times.length} events of a change arrived`);
    return times.map((time) => Math.max(time - at, 0));
  });
  return latencies.sort((a, b) => a - b);
}

/** @param {Subscribed} subscribed @param {(line: string) => void} print */
export function printSubscribers({ kilobytes, p50, p99, worst }, print) {
  print(
    `${SUBSCRIBERS} subscribers: ${kilobytes.toFixed(1)} KB each; a change takes ${p50.toFixed(0)} ms (p50), ${p99.toFixed(0)} ms (p99), ${worst.toFixed(0)} ms (slowest)`,
  );
}
