// The command line: what to measure, and for how long.
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { SERVER_NAMES } from "./servers.mjs";
import { WORKLOADS, workload } from "./workloads.mjs";

export const HELP = `npm run bench -- [options]

Measures the gateway against the references, and what each client's requests cost, and prints tables. Also writes
bench.json and bench.svg: a full run into bench/results, a run with options into the cache folder, unless --out is given.
The table of clients is left out with --only or --servers.

  --quick              shorter: 2 s of warm-up, 3 rounds of 1 s; the figures are rough
  --only W1,W5         these workloads alone
  --servers bare,…     these servers alone, of ${SERVER_NAMES.join(", ")}
  --rounds N           rounds of a server in a workload (default 20: in turn with others)
  --warmup S           seconds of load before a server's first round (default 30)
  --duration S         seconds of a round (default 1)
  --repeats N          starts each workload so often with new processes, and takes all rounds together (default 1)
  --records N          in the table, over ten accounts (default 1,000,000)
  --connections N      of the load (default 50)
  --pool N             connections of each server to PostgreSQL (default 4)
  --out FOLDER         where the results go

  --growth             instead: the gateway's W1, W2 and W6 with --sizes 10000,1000000,5000000
  --soak               instead: its rate after 300,000 requests, and its memory over --minutes 10 of W8
  --clients            instead: the CPU time of a point read as each client sends it
  --costs              instead: W1 to W8 with and without the ledger's sealing, webhooks and 100 subscribers
  --ledger             instead: sealing, verifying and exporting --events 1000000
  --subscribers        instead: the memory of each of 1,000 subscribers, and how soon they get a change
  --start              instead: how long it takes to be ready on a migrated database
  --import             instead: the import of a file with --records lines, some of them bad, and its export

BENCH_DIR is the cache folder, where the records are kept between runs (default ${defaultFolder()}).
BENCH_DATABASE_URL takes a PostgreSQL of yours, 15 or newer, as a superuser, in place of the bench's own.`;

/** A closed home folder, as root has one, can't be entered by the user that PostgreSQL runs as. */
function defaultFolder() {
  if (process.getuid?.() === 0) return "/var/tmp/kyc-gateway-bench";
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "kyc-gateway-bench");
}

/**
 * @typedef {object} Options
 * @property {"compare" | "clients" | "growth" | "soak" | "costs" | "ledger" | "subscribers" | "start" | "import" | "help"} mode
 * @property {import("./workloads.mjs").Workload[]} workloads
 * @property {import("./servers.mjs").ServerName[]} servers
 * @property {boolean} withClients whether a comparison ends with the table of clients
 * @property {number} rounds
 * @property {number} warmup
 * @property {number} duration
 * @property {number} repeats
 * @property {number} records
 * @property {number[]} sizes
 * @property {number} events of a measurement of the ledger
 * @property {number} connections
 * @property {number} pool
 * @property {number} minutes
 * @property {string} folder the cache
 * @property {string} out
 * @property {string} setting the options that were given, as they were given
 */

/** Fails with one line if an option is invalid. @param {string[]} args @returns {Options} */
export function parseOptions(args) {
  const text = /** @type {const} */ ({ type: "string" });
  const flag = /** @type {const} */ ({ type: "boolean", default: false });
  const { values } = parseArgs({
    args,
    options: {
      ...{
        only: text,
        servers: text,
        rounds: text,
        warmup: text,
        duration: text,
        repeats: text,
        records: text,
      },
      ...{ connections: text, pool: text, out: text, sizes: text, minutes: text, events: text },
      ...{ quick: flag, clients: flag, growth: flag, soak: flag, costs: flag, ledger: flag },
      ...{ subscribers: flag, start: flag, import: flag, help: flag },
    },
  });
  const { quick } = values;
  const folder = process.env.BENCH_DIR || defaultFolder();
  const modes = /** @type {const} */ ([
    ...["help", "clients", "growth", "soak", "costs", "ledger", "subscribers", "start", "import"],
  ]);
  const full = args.every((argument) => modes.some((mode) => argument === `--${mode}`));
  const results = full ? fileURLToPath(new URL("results", import.meta.url)) : join(folder, "results");
  return {
    mode: modes.find((mode) => values[mode]) ?? "compare",
    workloads: values.only === undefined ? WORKLOADS : values.only.split(",").map(workload),
    servers: readServers(values.servers),
    withClients: values.only === undefined && values.servers === undefined,
    rounds: readCount("rounds", values.rounds, quick ? 3 : 20),
    warmup: readCount("warmup", values.warmup, quick ? 2 : 30),
    duration: readCount("duration", values.duration, 1),
    repeats: readCount("repeats", values.repeats, 1),
    records: readCount("records", values.records, 1_000_000),
    sizes: (values.sizes ?? "10000,1000000,5000000").split(",").map((size) => readCount("sizes", size, 0)),
    events: readCount("events", values.events, quick ? 100_000 : 1_000_000),
    connections: readCount("connections", values.connections, 50),
    pool: readCount("pool", values.pool, 4),
    minutes: readCount("minutes", values.minutes, quick ? 1 : 10),
    folder,
    out: values.out ?? results,
    setting: args.join(" "),
  };
}

/** @param {string | undefined} list */
function readServers(list) {
  if (list === undefined) return SERVER_NAMES;
  return list.split(",").map((name) => {
    const known = SERVER_NAMES.find((one) => one === name);
    if (!known) throw new Error(`--servers: ${name} is none of ${SERVER_NAMES.join(", ")}`);
    return known;
  });
}

/** @param {string} name @param {string | undefined} text @param {number} absent */
function readCount(name, text, absent) {
  if (text === undefined) return absent;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error(`--${name}: ${text} is no whole number above zero`);
  return Number(text);
}
