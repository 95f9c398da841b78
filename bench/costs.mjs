// What the ledger and the delivery of changes cost: the gateway with and without them, in turns on one database.
import { setTimeout as wait } from "node:timers/promises";
import postgres from "postgres";
import { loadAndClean, summarize, turned } from "./compare.mjs";
import { startServer } from "./servers.mjs";
import { rateBy } from "./statistics.mjs";
import { openStream } from "./streams.mjs";

const SUBSCRIBERS = 100;
/** How long a process may take until it serves as usual after a pause, and until all subscribers are served. Milliseconds. */
const SETTLE_MS = 1000;

/**
 * The gateway in another state. `begin` puts it into that state for one round, and returns what ends it.
 *
 * @typedef {object} Variant
 * @property {string} name
 * @property {string} what the ratio says
 * @property {string[]} workloads
 * @property {number} goal
 * @property {boolean} isMore whether it does more than the gateway, and not less: its rate is then divided by the gateway's
 * @property {Record<string, string>} [variables]
 * @property {(server: import("./servers.mjs").Server, session: import("./session.mjs").Session, sql: postgres.Sql) =>
 *   Promise<() => Promise<void>>} [begin]
 */
/** @type {Variant[]} */
const VARIANTS = [
  {
    name: "unsealed",
    what: "with sealing ÷ without",
    workloads: ["W4", "W8"],
    ...{ goal: 0.9, isMore: false, begin: hideEvents },
  },
  {
    name: "undelivered",
    what: "with webhooks ÷ WEBHOOKS=off",
    workloads: ["W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8"],
    ...{ goal: 0.98, isMore: false, variables: { WEBHOOKS: "off" } },
  },
  {
    name: "subscribed",
    what: `with ${SUBSCRIBERS} subscribers ÷ without`,
    workloads: ["W8"],
    ...{ goal: 0.8, isMore: true, begin: subscribe },
  },
];

/** @typedef {{ name: string, rounds: import("./load.mjs").Measurement[] }} Measured */
/** @typedef {{ verdicts: import("./report.mjs").Verdict[], workloads: { name: string,
 *   results: (import("./load.mjs").Measurement & Measured)[] }[] }} Costs */

/**
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} say
 * @returns {Promise<Costs>}
 */
export async function measureCosts(session, options, say) {
  const sql = postgres(session.database, { max: 1, onnotice: () => {} });
  const costs = /** @type {Costs} */ ({ verdicts: [], workloads: [] });
  try {
    for (const workload of options.workloads) {
      const variants = VARIANTS.filter(({ workloads }) => workloads.includes(workload.name));
      const all = [undefined, ...variants];
      const found = await measure(workload, all, session, { options, sql, say });
      const [gateway, ...others] = found.map((one) => ({ ...one, ...summarize(one.rounds) }));
      if (!gateway) continue;
      costs.workloads.push({ name: workload.name, results: [gateway, ...others] });
      for (const [index, { what, goal, isMore }] of variants.entries()) {
        const other = /** @type {typeof gateway} */ (others[index]);
        const measured = isMore ? rateBy(other, gateway) : rateBy(gateway, other);
        costs.verdicts.push({ what: `${workload.name} ${what}`, measured, goal, passed: measured >= goal });
      }
    }
  } finally {
    await sql.end({ timeout: 5 });
  }
  return costs;
}

/**
 * The rounds of one workload. A process whose turn it is not is paused: it would seal events of the others.
 *
 * @param {import("./workloads.mjs").Workload} workload
 * @param {(Variant | undefined)[]} variants undefined is the gateway as it is
 * @param {import("./session.mjs").Session} session
 * @param {{ options: import("./options.mjs").Options, sql: postgres.Sql, say: (line: string) => void }} circumstances
 * @returns {Promise<Measured[]>}
 */
async function measure(workload, variants, session, { options, sql, say }) {
  const { rounds, warmup, duration, connections, pool } = options;
  const { database, folder } = session;
  const running = [];
  try {
    for (const variant of variants) {
      // After a pause, a gateway would find itself overloaded.
      const variables = { MAX_EVENT_LOOP_DELAY: "1 h", ...variant?.variables };
      const server = await startServer("gateway", { database, pool, folder, variables });
      const measured = /** @type {Measured} */ ({ name: variant?.name ?? "gateway", rounds: [] });
      running.push({ server, variant, measured });
    }
    for (const { server } of running) process.kill(server.pid, "SIGSTOP");
    for (let round = 0; round <= rounds; round++) {
      for (const { server, variant, measured } of turned(running, round)) {
        process.kill(server.pid, "SIGCONT");
        await wait(SETTLE_MS);
        const end = await variant?.begin?.(server, session, sql);
        const seconds = round === 0 ? warmup : duration;
        const one = await loadAndClean(server, workload, session, { seconds, seed: round, connections });
        await end?.();
        process.kill(server.pid, "SIGSTOP");
        say(`${workload.name} round ${round} of ${rounds}: ${measured.name} ${Math.round(one.rate)}/s`);
        if (round > 0) measured.rounds.push(one);
      }
    }
    return running.map(({ measured }) => measured);
  } finally {
    for (const { server } of running) {
      process.kill(server.pid, "SIGCONT");
      await server.stop();
    }
  }
}

/**
 * The events that are written from now on are none that the sealer finds: it goes on looking, but numbers, hashes and
 * writes nothing, and its index does not grow.
 *
 * @type {Variant["begin"]}
 */
async function hideEvents(_server, _session, sql) {
  await sql`alter table audit_events alter written_in drop default`;
  return async () => {
    await sql`alter table audit_events alter written_in set default pg_current_xact_id()`;
  };
}

const SUBSCRIPTION = "subscription { kycChanged { cursor position action kycId } }";

/**
 * Opens streams of all changes. What they send is received and thrown away, with as little of the machine as possible.
 * Its end fails if one of them was sent no change.
 *
 * @type {Variant["begin"]}
 */
async function subscribe({ url }, { token }) {
  const streams = Array.from({ length: SUBSCRIBERS }, () => {
    const stream = { socket: openStream(url, token, SUBSCRIPTION), hasChange: false };
    stream.socket.on("data", (chunk) => {
      stream.hasChange ||= chunk.includes('"kycId":"');
    });
    return stream;
  });
  await wait(SETTLE_MS);
  return async () => {
    const served = streams.filter(({ hasChange }) => hasChange).length;
    for (const { socket } of streams) socket.destroy();
    if (served < SUBSCRIBERS) throw new Error(`${SUBSCRIBERS - served} subscribers were sent no change`);
  };
}

/** @param {Costs} costs @param {(line: string) => void} print */
export function printCosts({ workloads }, print) {
  for (const { name, results } of workloads) {
    for (const { name: state, rate, cpu, p99 } of results)
      print(
        `${name} ${state.padEnd(14)}${Math.round(rate).toLocaleString("en").padStart(8)}/s${cpu.toFixed(0).padStart(7)} µs CPU${p99.toFixed(2).padStart(9)} ms p99`,
      );
  }
}
