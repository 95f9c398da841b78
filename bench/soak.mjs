// Whether the gateway stays what it is: its rate after many requests, its memory over minutes of writing and reading.
import { memory } from "./children.mjs";
import { loadAndClean } from "./compare.mjs";
import { load } from "./load.mjs";
import { startServer } from "./servers.mjs";
import { median, slope } from "./statistics.mjs";
import { workload } from "./workloads.mjs";

const REQUESTS = 300_000;
/** The rate of the last windows by that of the first, at least. */
const RATE_GOAL = 0.95;
/** The maximum growth of the heap: its size at the end, divided by its size in the second fifth of the time. */
const GROWTH_GOAL = 1.05;
const WINDOW_SECONDS = 5;
const WINDOWS_COMPARED = 3;
/** Bounds the run of a server that is slower than any gateway should be. */
const MOST_WINDOWS = 120;

/**
 * @typedef {object} Soak
 * @property {{ requests: number, first: number, last: number, ratio: number, goal: number, passed: boolean,
 *   windows: { requests: number, rate: number, cpu: number }[] }} rate the CPU tells a slower gateway from a busier machine
 * @property {{ minutes: number, peak: number, early: number, late: number, ratio: number, goal: number,
 *   passed: boolean, slope: number, windows: { second: number, resident: number, rate: number }[] }} memory in MB,
 *   the slope in MB a minute
 */

/**
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 * @returns {Promise<Soak>}
 */
export async function soak(session, options, say) {
  const { database, folder } = session;
  const start = () => startServer("gateway", { database, pool: options.pool, folder });
  const first = await start();
  const rate = await soakRate(first, session, options, say);
  await first.stop();
  const second = await start();
  const held = await soakMemory(second, session, options, say);
  await second.stop();
  return { rate, memory: held };
}

/**
 * @param {import("./servers.mjs").Server} server
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 */
async function soakRate(server, session, { warmup, connections }, say) {
  const W1 = workload("W1");
  // Warm first: what a JIT gains at the start would hide what is lost later.
  let requests = (await load(server, W1, session, { seconds: warmup, seed: 0, connections })).requests;
  const windows = [];
  // The windows that are compared with the first all begin after the requests.
  for (let late = 0; late < WINDOWS_COMPARED && windows.length < MOST_WINDOWS; ) {
    if (requests >= REQUESTS && windows.length >= WINDOWS_COMPARED) late++;
    const seed = windows.length + 1;
    const measured = await load(server, W1, session, { seconds: WINDOW_SECONDS, seed, connections });
    requests += measured.requests;
    windows.push({ requests, rate: measured.rate, cpu: measured.cpu });
    say(
      `W1 after ${requests.toLocaleString("en")} requests: ${Math.round(measured.rate)}/s, ${measured.cpu.toFixed(0)} µs CPU each`,
    );
  }
  const rates = windows.map(({ rate }) => rate);
  const first = median(rates.slice(0, WINDOWS_COMPARED));
  const last = median(rates.slice(-WINDOWS_COMPARED));
  const ratio = last / first;
  return { requests, first, last, ratio, goal: RATE_GOAL, passed: ratio >= RATE_GOAL, windows };
}

/**
 * @param {import("./servers.mjs").Server} server
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 */
async function soakMemory(server, session, { minutes, connections }, say) {
  const seconds = 10;
  const windows = [];
  for (let second = seconds; second <= minutes * 60; second += seconds) {
    const measured = await loadAndClean(server, workload("W8"), session, {
      ...{ seconds, seed: second, connections },
    });
    const { resident } = memory(server.pid);
    windows.push({ second, resident, rate: measured.rate });
    say(`W8 after ${second} s: ${resident.toFixed(0)} MB, ${Math.round(measured.rate)}/s`);
  }
  const held = windows.map(({ resident }) => resident);
  const fifth = Math.ceil(held.length / 5);
  const early = median(held.slice(fifth, 2 * fifth));
  const late = median(held.slice(-fifth));
  const ratio = late / early;
  const settled = windows.slice(fifth).map(({ second, resident }) => ({ x: second / 60, y: resident }));
  return {
    ...{ minutes, peak: memory(server.pid).peak, early, late, ratio, goal: GROWTH_GOAL },
    ...{ passed: ratio <= GROWTH_GOAL, slope: slope(settled), windows },
  };
}

/** @param {Soak} soak @param {(line: string) => void} print */
export function printSoak({ rate, memory }, print) {
  const verdict = (/** @type {boolean} */ passed) => (passed ? "pass" : "FAIL");
  print(
    `\nW1 after ${rate.requests.toLocaleString("en")} requests: ${Math.round(rate.last)}/s of ${Math.round(rate.first)}/s at first, ${rate.ratio.toFixed(2)}, goal ${rate.goal}: ${verdict(rate.passed)}`,
  );
  print(
    `W8 over ${memory.minutes} min: peak ${memory.peak.toFixed(0)} MB, ${memory.early.toFixed(0)} MB early, ${memory.late.toFixed(0)} MB at the end (${memory.slope.toFixed(2)} MB a minute), ${memory.ratio.toFixed(2)}, goal at most ${memory.goal}: ${verdict(memory.passed)}`,
  );
}
