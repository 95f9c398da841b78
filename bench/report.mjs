// The report of the measurements, for people and for programs.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { drawChart } from "./chart.mjs";
import { GATEWAY } from "./gateway.mjs";
import { REFERENCE_GROUPS } from "./servers.mjs";
import { rateBy } from "./statistics.mjs";

const REFERENCES = REFERENCE_GROUPS.flatMap(({ references }) => references);

/** Megabytes of the gateway's peak under load. */
const MEMORY_GOAL = 160;

/** @typedef {{ what: string, measured: number, goal: number, passed: boolean }} Verdict */

/**
 * How many times a reference's rate the gateway's is: the median of the rounds' ratios, with the goal if there is one.
 *
 * @typedef {{ reference: import("./servers.mjs").Reference, ratio: number, goal: number | undefined }} Ratio
 */

/**
 * The gateway's rate in a workload divided by that of each reference that was measured with it, in the order of the
 * groups; nothing if the gateway was not measured.
 *
 * @param {import("./compare.mjs").Comparison} comparison
 * @returns {Ratio[]}
 */
export function ratiosOf({ workload, results }) {
  const gateway = results.find(({ server }) => server === "gateway");
  if (!gateway) return [];
  return REFERENCES.flatMap((reference) => {
    const base = results.find(({ server }) => server === reference);
    return base ? [{ reference, ratio: rateBy(gateway, base), goal: workload.goals[reference] }] : [];
  });
}

/**
 * Compares the gateway's figures with the goals. A goal is judged if both servers of its ratio were measured.
 *
 * @param {import("./compare.mjs").Comparison[]} comparisons
 * @returns {Verdict[]}
 */
export function judge(comparisons) {
  const verdicts = [];
  for (const comparison of comparisons) {
    const { workload, results } = comparison;
    for (const { reference, ratio, goal } of ratiosOf(comparison)) {
      if (goal === undefined) continue;
      const what = `${workload.name} ÷ ${reference}`;
      verdicts.push({ what, measured: ratio, goal, passed: ratio >= goal });
    }
    const gateway = results.find(({ server }) => server === "gateway");
    const audited = results.find(({ server }) => server === "audited");
    const goal = workload.goals.audited;
    if (gateway && audited && goal !== undefined) {
      const measured = rateBy(audited, gateway);
      verdicts.push({ what: `${workload.name} audited ÷ gateway`, measured, goal, passed: measured >= goal });
    }
  }
  const peaks = comparisons
    .flatMap(({ results }) => results)
    .filter(({ server }) => server === "gateway")
    .map(({ memory }) => memory);
  if (peaks.length > 0) {
    const measured = Math.max(...peaks);
    const passed = measured < MEMORY_GOAL;
    verdicts.push({ what: "peak memory, MB, below", measured, goal: MEMORY_GOAL, passed });
  }
  return verdicts;
}

/**
 * How much of one core the server's process used, in percent. If it is far below 100, the process waited for PostgreSQL,
 * the load or other programs, and its rate says more about them than about its own cost.
 *
 * @param {import("./load.mjs").Measurement} measurement
 */
function busy({ rate, cpu }) {
  return (rate * cpu) / 1e4;
}

const HINTS = `
busy: percent of one core that the server's process used. Far below 100 it waited for others, and its CPU time a request tells more.
W2 and W7 send the same request over all connections: the gateway answers equal reads together, the references do not.
W3 and W6 ask for differing pages.`;

/** @param {import("./compare.mjs").Comparison[]} comparisons @param {(line: string) => void} print */
export function printComparison(comparisons, print) {
  const row = (/** @type {string} */ name, /** @type {string} */ server, /** @type {string[]} */ cells) =>
    print(`${name.padEnd(46)}${server.padEnd(18)}${cells.map((cell) => cell.padStart(12)).join("")}`);
  row("workload", "server", ["requests/s", "CPU µs", "busy %", "p50 ms", "p99 ms", "peak MB"]);
  for (const { workload, results } of comparisons) {
    for (const [index, result] of results.entries()) {
      row(index === 0 ? `${workload.name} ${workload.title}` : "", result.server, [
        Math.round(result.rate).toLocaleString("en"),
        result.cpu.toFixed(0),
        busy(result).toFixed(0),
        result.p50.toFixed(2),
        result.p99.toFixed(2),
        result.memory.toFixed(0),
      ]);
    }
  }
  print(HINTS);
}

/**
 * Prints how many times the rate of each reference the gateway reaches, the references in their two groups.
 *
 * @param {import("./compare.mjs").Comparison[]} comparisons
 * @param {(line: string) => void} print
 */
export function printRatios(comparisons, print) {
  const cell = (/** @type {string} */ text) => text.padStart(24);
  const groups = REFERENCE_GROUPS.map(({ title, references }) =>
    `| ${title}`.padEnd(24 * references.length + 1),
  );
  print(`${"gateway's rate ÷ reference's".padEnd(46)}${groups.join("")}`);
  print(`${"workload".padEnd(46)}${REFERENCES.map(cell).join("")}`);
  for (const comparison of comparisons) {
    const ratios = ratiosOf(comparison);
    if (ratios.length === 0) continue;
    const cells = REFERENCES.map((reference) => {
      const found = ratios.find((ratio) => ratio.reference === reference);
      if (!found) return "";
      const { ratio, goal } = found;
      return ratio.toFixed(2) + (goal === undefined ? "" : ` (goal ${goal})`);
    });
    const { name, title } = comparison.workload;
    print(`${`${name} ${title}`.padEnd(46)}${cells.map(cell).join("")}`);
  }
}

/** @param {Verdict[]} verdicts @param {(line: string) => void} print */
export function printVerdicts(verdicts, print) {
  print(`${"goal".padEnd(40)}${"measured".padStart(10)}${"goal".padStart(8)}`);
  for (const { what, measured, goal, passed } of verdicts) {
    const figure = measured.toFixed(measured < 10 ? 2 : 0);
    print(`${what.padEnd(40)}${figure.padStart(10)}${String(goal).padStart(8)}  ${passed ? "pass" : "FAIL"}`);
  }
}

/**
 * Describes the machine, the versions and the options that the figures hold for.
 *
 * @param {import("./options.mjs").Options} options
 * @param {string} postgres its version
 */
export function describeRun(options, postgres) {
  const { rounds, warmup, duration, repeats, records, connections, pool, setting } = options;
  const git = (/** @type {string[]} */ ...args) =>
    execFileSync("git", args, {
      cwd: dirname(GATEWAY),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  let commit = "";
  try {
    commit =
      git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain") === "" ? "" : " with changes");
  } catch {
    // An installation without its history has no commit to name.
  }
  return {
    at: new Date().toISOString(),
    commit,
    machine: {
      cpu: cpus()[0]?.model ?? "",
      cores: cpus().length,
      memoryGb: Math.round(totalmem() / 1e9),
      node: process.version,
      postgres,
      // Of others, since nothing of the bench has run yet.
      loadBefore: loadavg()[0] ?? 0,
    },
    setting: { options: setting, records, connections, pool, warmup, rounds, duration, repeats },
  };
}

/**
 * @param {string} folder
 * @param {ReturnType<typeof describeRun>} run
 * @param {import("./compare.mjs").Comparison[]} comparisons
 * @param {{ verdicts: Verdict[], start?: import("./start.mjs").Start, clients?: import("./clients.mjs").Client[] }} others
 */
export function writeComparison(folder, run, comparisons, { verdicts, start, clients }) {
  const workloads = comparisons.map((comparison) => {
    const { workload, results } = comparison;
    const ratios = Object.fromEntries(
      REFERENCE_GROUPS.map(({ title, references }) => [
        title,
        ratiosOf(comparison).filter(({ reference }) => references.includes(reference)),
      ]),
    );
    return { name: workload.name, title: workload.title, ratios, results };
  });
  writeResult(folder, "bench.json", { ...run, workloads, goals: verdicts, start, clients });
  writeFileSync(join(folder, "bench.svg"), drawChart(comparisons, run));
}

/** @param {string} folder @param {string} name @param {unknown} result */
export function writeResult(folder, name, result) {
  mkdirSync(folder, { recursive: true });
  const rounded = (/** @type {string} */ _, /** @type {unknown} */ value) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
  writeFileSync(join(folder, name), `${JSON.stringify(result, rounded, 2)}\n`);
}
