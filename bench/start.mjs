// How long the gateway takes from its start until it is ready, on a database that is migrated.
import { waitFor } from "./children.mjs";
import { startServer } from "./servers.mjs";
import { median } from "./statistics.mjs";

const STARTS = 7;
/** Seconds. */
const GOAL = 0.8;

/** @typedef {{ seconds: number, slowest: number, goal: number, passed: boolean }} Start the median, and the slowest */

/**
 * @param {import("./session.mjs").Session} session
 * @param {{ pool: number }} options
 * @returns {Promise<Start>}
 */
export async function measureStart({ database, folder }, { pool }) {
  const times = [];
  for (let i = 0; i < STARTS; i++) {
    const begin = performance.now();
    const server = await startServer("gateway", { database, pool, folder });
    await waitFor(async () => ((await fetch(`${server.url}/ready`)).ok ? true : undefined), {
      ...{ timeout: 20_000, what: "the gateway to be ready" },
    });
    times.push((performance.now() - begin) / 1000);
    await server.stop();
  }
  const seconds = median(times);
  return { seconds, slowest: Math.max(...times), goal: GOAL, passed: seconds < GOAL };
}

/** @param {Start} start @param {(line: string) => void} print */
export function printStart({ seconds, slowest, goal, passed }, print) {
  print(
    `start to ready: ${seconds.toFixed(2)} s (slowest of ${STARTS}: ${slowest.toFixed(2)} s), goal below ${goal} s: ${passed ? "pass" : "FAIL"}`,
  );
}
