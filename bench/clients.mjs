// The cost of one point read for the gateway, as each client sends it.
import { readFileSync } from "node:fs";
import { checkAnswers } from "./check.mjs";
import { summarize, turned } from "./compare.mjs";
import { load } from "./load.mjs";
import { startServer } from "./servers.mjs";
import { median } from "./statistics.mjs";

/** The most that a client's request may cost, as a multiple of the cheapest client's. */
const GOAL = 1.5;

/** A page of this origin is the front end in the recorded requests. */
const CORS_ORIGINS = "https://front-end.example";
/** As high as the gateway accepts, so that the limiter counts and refuses nothing. */
const RATE_LIMIT = "100000000";

/**
 * `times` is the CPU time divided by the cheapest client's: the median of the rounds' ratios.
 * @typedef {import("./load.mjs").Measurement & { client: string, times: number, goal: number, passed: boolean }} Client
 */
/** @typedef {{ client: string, server: import("./servers.mjs").Server, workload: import("./workloads.mjs").Workload,
 *   rounds: import("./load.mjs").Measurement[] }} Row */

/** The requests as `test/system/clients/requests.test.ts` recorded them, each as its own workload. */
function readWorkloads() {
  const recorded = readFileSync(new URL("client-requests.json", import.meta.url), "utf8");
  return Object.entries(JSON.parse(recorded)).map(([client, { path, headers, body }], index) => ({
    ...{ name: `client-${index}`, title: client, servers: [], goals: {} },
    parts: [{ name: client, share: 100, path, headers, ...(body !== "" && { body }) }],
  }));
}

/**
 * Loads one gateway with the requests of all clients in turns, and a second one that has RATE_LIMIT set with curl's.
 * Fails if a client does not get its record.
 *
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 * @returns {Promise<Client[]>}
 */
export async function measureClients(session, options, say) {
  const start = (/** @type {Record<string, string>} */ variables) =>
    startServer("gateway", {
      ...{ database: session.database, pool: options.pool, folder: session.folder },
      variables: { CORS_ORIGINS, ...variables },
    });
  /** @type {import("./servers.mjs").Server[]} */
  const servers = [];
  try {
    const server = await start({});
    servers.push(server);
    const limited = await start({ RATE_LIMIT });
    servers.push(limited);
    /** @type {Row[]} */
    const rows = readWorkloads().map((workload) => ({
      ...{ client: workload.title, server, workload, rounds: [] },
    }));
    const [curl] = rows;
    if (curl) rows.push({ ...curl, client: `${curl.client}, RATE_LIMIT`, server: limited, rounds: [] });
    for (const { workload } of rows) await checkAnswers(servers, workload, session);
    await measure(rows, session, options, say);
    return compareRows(rows);
  } finally {
    for (const server of servers) await server.stop();
  }
}

/**
 * @param {Row[]} rows
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 */
async function measure(rows, session, { rounds, warmup, duration, connections }, say) {
  for (let round = 0; round <= rounds; round++) {
    for (const { client, server, workload, rounds: measurements } of turned(rows, round)) {
      const seconds = round === 0 ? warmup : duration;
      const measured = await load(server, workload, session, { seconds, seed: round, connections });
      const label = round === 0 ? "warm-up" : `round ${round} of ${rounds}`;
      say(`clients ${label}: ${client} ${measured.cpu.toFixed(0)} µs`);
      if (round > 0) measurements.push(measured);
    }
  }
}

/** @param {Row[]} rows @returns {Client[]} */
function compareRows(rows) {
  const figures = rows.map(({ client, rounds }) => ({ client, rounds, ...summarize(rounds) }));
  const [cheapest] = [...figures].sort((a, b) => a.cpu - b.cpu);
  return figures.map(({ rounds, ...figure }) => {
    const times = median(rounds.map(({ cpu }, round) => cpu / Number(cheapest?.rounds[round]?.cpu)));
    return { ...figure, times, goal: GOAL, passed: times <= GOAL };
  });
}

/** @param {Client[]} clients @param {(line: string) => void} print */
export function printClients(clients, print) {
  print(
    `${"point read as sent by".padEnd(28)}${"CPU µs".padStart(10)}${"× cheapest".padStart(12)}${"at most".padStart(10)}`,
  );
  for (const { client, cpu, times, goal, passed } of clients) {
    const cells = cpu.toFixed(0).padStart(10) + times.toFixed(2).padStart(12) + String(goal).padStart(10);
    print(`${client.padEnd(28)}${cells}  ${passed ? "pass" : "FAIL"}`);
  }
}
