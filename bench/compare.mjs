// The comparison: every workload on every server, in turns, on one table.
import { checkAnswers } from "./check.mjs";
import { memory } from "./children.mjs";
import { load } from "./load.mjs";
import { SERVER_NAMES, startServer, WITHOUT_DUTIES } from "./servers.mjs";
import { median } from "./statistics.mjs";
import { shareOf } from "./workloads.mjs";

/** Of a mix, how many creations come out by chance is not exact. */
const SHARE_TOLERANCE = 0.8;

/**
 * The result of a server in a workload: medians of its rounds, and its peak memory in megabytes.
 * @typedef {import("./load.mjs").Measurement & { server: import("./servers.mjs").ServerName, memory: number,
 *   rounds: import("./load.mjs").Measurement[] }} Result
 */
/** @typedef {{ workload: import("./workloads.mjs").Workload, results: Result[] }} Comparison */

/**
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 * @returns {Promise<Comparison[]>}
 */
export async function compareServers(session, options, say) {
  const comparisons = [];
  for (const workload of options.workloads) {
    const names = SERVER_NAMES.filter(
      (name) => options.servers.includes(name) && workload.servers.includes(name),
    );
    if (names.length === 0) continue;
    /** @type {Map<import("./servers.mjs").ServerName, { memory: number, rounds: import("./load.mjs").Measurement[] }>} */
    const found = new Map(names.map((name) => [name, { memory: 0, rounds: [] }]));
    for (let repeat = 0; repeat < options.repeats; repeat++) {
      await measure(workload, found, session, options, say);
    }
    const results = [...found].map(([server, { rounds, memory }]) => ({
      ...{ server, memory, ...summarize(rounds) },
      rounds,
    }));
    comparisons.push({ workload, results });
  }
  return comparisons;
}

/**
 * The rounds of one workload, on servers that have done nothing else: one peak of memory, and one past of the JIT.
 *
 * @param {import("./workloads.mjs").Workload} workload
 * @param {Map<import("./servers.mjs").ServerName, { memory: number, rounds: import("./load.mjs").Measurement[] }>} found
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 */
async function measure(workload, found, session, options, say) {
  const { rounds, warmup, duration, connections, pool } = options;
  /** @type {import("./servers.mjs").Server[]} */
  const servers = [];
  try {
    for (const name of found.keys()) {
      servers.push(await startServer(name, { database: session.database, pool, folder: session.folder }));
    }
    await checkAnswers(servers, workload, session);
    for (let round = 0; round <= rounds; round++) {
      for (const server of turned(servers, round)) {
        const seconds = round === 0 ? warmup : duration;
        const measured = await loadAndClean(server, workload, session, { seconds, seed: round, connections });
        const label = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
        say(`${workload.name} ${label}: ${server.name} ${Math.round(measured.rate)}/s`);
        if (round > 0) found.get(server.name)?.rounds.push(measured);
      }
    }
    // Once more, now that whatever compiles or caches has done so.
    await checkAnswers(servers, workload, session);
    for (const { name, pid } of servers) {
      const result = found.get(name);
      if (result) result.memory = Math.max(result.memory, memory(pid).peak);
    }
  } finally {
    for (const server of servers) await server.stop();
    if (workload.parts.some((part) => part.writes)) await session.clean();
  }
}

/** Every server is once the first, so that none always follows the same one. @template T @param {T[]} list @param {number} by */
export function turned(list, by) {
  const start = by % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

/**
 * A load that leaves the tables as they were. Fails if it left fewer new records, or fewer events of a server that
 * writes them, than there were requests for that.
 *
 * @param {import("./servers.mjs").Server} server
 * @param {import("./workloads.mjs").Workload} workload
 * @param {import("./session.mjs").Session} session
 * @param {{ seconds: number, seed: number, connections: number }} options
 */
export async function loadAndClean(server, workload, session, options) {
  const measured = await load(server, workload, session, options);
  const creates = shareOf(workload, "create");
  const writes = creates + shareOf(workload, "update");
  if (writes === 0 && server.name !== "audited") return measured;
  const { created, events } = await session.clean();
  const requireLeft = (
    /** @type {string} */ what,
    /** @type {number} */ found,
    /** @type {number} */ percent,
  ) => {
    const expected = ((measured.requests * percent) / 100) * (percent < 100 ? SHARE_TOLERANCE : 1);
    if (found < expected) {
      throw new Error(`${server.name} left ${found} new ${what} instead of ${Math.ceil(expected)}`);
    }
  };
  requireLeft("records", created, creates);
  if (WITHOUT_DUTIES.every((name) => name !== server.name)) requireLeft("events", events, writes);
  return measured;
}

/** @param {import("./load.mjs").Measurement[]} rounds @returns {import("./load.mjs").Measurement} */
export function summarize(rounds) {
  const of = (/** @type {keyof import("./load.mjs").Measurement} */ name) =>
    median(rounds.map((round) => round[name]));
  return {
    requests: rounds.reduce((sum, round) => sum + round.requests, 0),
    seconds: rounds.reduce((sum, round) => sum + round.seconds, 0),
    ...{ rate: of("rate"), cpu: of("cpu"), p50: of("p50"), p99: of("p99"), bytes: of("bytes") },
  };
}
