// How the gateway's cost grows with the number of records.
import { memory } from "./children.mjs";
import { summarize, turned } from "./compare.mjs";
import { load } from "./load.mjs";
import { startServer } from "./servers.mjs";
import { openSession } from "./session.mjs";
import { median } from "./statistics.mjs";
import { workload } from "./workloads.mjs";

/** The slowest size by the fastest, at least. */
const GOAL = 0.85;
const COUNTS = 15;

/**
 * @typedef {object} Growth
 * @property {{ name: string, title: string, slowestByFastest: number, goal: number, passed: boolean,
 *   sizes: { records: number, rate: number, ofRound: number, cpu: number, p50: number, p99: number }[] }[]} workloads
 * @property {{ records: number, totalCountMs: number, memory: number }[]} sizes
 */

/**
 * Measures W1, W2 and W6 in turns on databases of different sizes, each with its own gateway, and the time of a
 * `totalCount` on each.
 *
 * @param {string} postgres
 * @param {import("./options.mjs").Options} options
 * @param {string} folder
 * @param {(line: string) => void} say
 * @returns {Promise<Growth>}
 */
export async function measureGrowth(postgres, options, folder, say) {
  /** @type {{ session: import("./session.mjs").Session, server: import("./servers.mjs").Server }[]} */
  const sites = [];
  try {
    for (const records of options.sizes) {
      const session = await openSession(postgres, { records, folder, say });
      const start = { database: session.database, pool: options.pool, folder: session.folder };
      sites.push({ session, server: await startServer("gateway", start) });
    }
    const workloads = [];
    for (const name of ["W1", "W2", "W6"]) {
      workloads.push(await measure(workload(name), sites, options, say));
    }
    const sizes = [];
    for (const { session, server } of sites) {
      const totalCountMs = await timeTotalCount(server.url, session.token);
      sizes.push({ records: session.records, totalCountMs, memory: memory(server.pid).peak });
    }
    return { workloads, sizes };
  } finally {
    for (const { server } of sites) await server.stop();
    for (const { session } of sites) await session.close();
  }
}

/**
 * @param {import("./workloads.mjs").Workload} workload
 * @param {{ session: import("./session.mjs").Session, server: import("./servers.mjs").Server }[]} sites
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 */
async function measure(workload, sites, { rounds, warmup, duration, connections }, say) {
  const found = sites.map(({ session }) => ({
    records: session.records,
    rounds: /** @type {import("./load.mjs").Measurement[]} */ ([]),
  }));
  for (let round = 0; round <= rounds; round++) {
    for (const [index, { session, server }] of turned([...sites.entries()], round)) {
      const seconds = round === 0 ? warmup : duration;
      const measured = await load(server, workload, session, { seconds, seed: round, connections });
      say(`${workload.name} at ${session.records.toLocaleString("en")}: ${Math.round(measured.rate)}/s`);
      if (round > 0) found[index]?.rounds.push(measured);
    }
  }
  const sizes = found.map((size) => {
    const { rate, cpu, p50, p99 } = summarize(size.rounds);
    return { records: size.records, rate, ofRound: median(ratesOfRound(size, found)), cpu, p50, p99 };
  });
  const shares = sizes.map(({ ofRound }) => ofRound);
  const slowestByFastest = Math.min(...shares) / Math.max(...shares);
  const { name, title } = workload;
  return { name, title, slowestByFastest, goal: GOAL, passed: slowestByFastest >= GOAL, sizes };
}

/**
 * The rate of a size in each round by the mean of all sizes in it: a machine that is slower for a while, since others
 * use it, is so for all of them.
 *
 * @param {{ rounds: { rate: number }[] }} size
 * @param {{ rounds: { rate: number }[] }[]} all
 */
function ratesOfRound(size, all) {
  return size.rounds.map(({ rate }, round) => {
    const sum = all.reduce((total, { rounds }) => total + Number(rounds[round]?.rate), 0);
    return (rate * all.length) / sum;
  });
}

/** The median time of one `totalCount` over the whole account. Milliseconds. @param {string} url @param {string} token */
async function timeTotalCount(url, token) {
  const times = [];
  for (let i = 0; i < COUNTS; i++) {
    const start = performance.now();
    const response = await fetch(`${url}/graphql`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ query: "{ kycs { totalCount } }" }),
    });
    const { data } = await response.json();
    times.push(performance.now() - start);
    if (!(data?.kycs.totalCount > 0)) throw new Error("totalCount gave nothing");
  }
  return median(times);
}

/** @param {Growth} growth @param {(line: string) => void} print */
export function printGrowth({ workloads, sizes }, print) {
  for (const { name, title, slowestByFastest, goal, passed, sizes } of workloads) {
    print(`\n${name} ${title}`);
    for (const { records, rate, ofRound, cpu, p50, p99 } of sizes) {
      const cells = [
        `${Math.round(rate)}/s`,
        `${(100 * ofRound).toFixed(0)} % of the mean`,
        `${cpu.toFixed(0)} µs CPU`,
      ];
      print(
        `${records.toLocaleString("en").padStart(12)}  ${cells.map((cell) => cell.padStart(12)).join("  ")}   p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
      );
    }
    print(`  slowest ÷ fastest ${slowestByFastest.toFixed(2)}, goal ${goal}: ${passed ? "pass" : "FAIL"}`);
  }
  print("\ntotalCount of an account with a tenth of the records, one at a time");
  for (const { records, totalCountMs } of sizes) {
    print(`${records.toLocaleString("en").padStart(12)}  ${totalCountMs.toFixed(1).padStart(9)} ms`);
  }
}
