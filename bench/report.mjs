// What was measured, for people and for programs.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { drawChart } from "./chart.mjs";
import { GATEWAY } from "./gateway.mjs";
import { rateBy } from "./statistics.mjs";

/** Megabytes of the gateway's peak under load. */
const MEMORY_GOAL = 160;

/** @typedef {{ what: string, measured: number, goal: number, passed: boolean }} Verdict */

/**
 * The gateway's rates by those of the references, beside what they should be. A ratio is there where both of its sides
 * were measured.
 *
 * @param {import("./compare.mjs").Comparison[]} comparisons
 * @returns {Verdict[]}
 */
export function judge(comparisons) {
  const find = (/** @type {string} */ workload, /** @type {string} */ server) =>
    comparisons
      .find((comparison) => comparison.workload.name === workload)
      ?.results.find((result) => result.server === server);
  const verdicts = [];
  for (const { workload } of comparisons) {
    const gateway = find(workload.name, "gateway");
    if (!gateway) continue;
    for (const [other, goal] of Object.entries(workload.goals)) {
      const base = other === "W2" ? find("W2", "gateway") : find(workload.name, other);
      if (!base) continue;
      const [what, measured] =
        other === "W2"
          ? ["÷ W2", gateway.rate / base.rate]
          : other === "audited"
            ? ["audited ÷ gateway", rateBy(base, gateway)]
            : [`÷ ${other}`, rateBy(gateway, base)];
      verdicts.push({ what: `${workload.name} ${what}`, measured, goal, passed: measured >= goal });
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
 * How much of one core the server's process used, in percent. Where it is far below 100 the process was waiting, for
 * PostgreSQL, the load or other programs: its rate then says more about them than about its own cost.
 *
 * @param {import("./load.mjs").Measurement} measurement
 */
function busy({ rate, cpu }) {
  return (rate * cpu) / 1e4;
}

const HINTS = `
busy: of one core, by the server's process. Far below 100 it waited for others, and its CPU a request tells more.
W2 and W7 send one and the same request over all connections: sharing the answer of equal reads counts there.
W3 and W6 ask for differing pages.`;

/** @param {import("./compare.mjs").Comparison[]} comparisons @param {(line: string) => void} print */
export function printComparison(comparisons, print) {
  const heading = ["requests/s", "CPU µs", "busy %", "p50 ms", "p99 ms", "peak MB", "÷ bare", "÷ mercurius"];
  const row = (/** @type {string} */ name, /** @type {string} */ server, /** @type {string[]} */ cells) =>
    print(`${name.padEnd(46)}${server.padEnd(10)}${cells.map((cell) => cell.padStart(12)).join("")}`);
  row("workload", "server", heading);
  for (const { workload, results } of comparisons) {
    for (const [index, result] of results.entries()) {
      const by = (/** @type {string} */ server) => {
        const base = results.find((other) => other.server === server);
        return !base || base === result ? "" : rateBy(result, base).toFixed(2);
      };
      row(index === 0 ? `${workload.name} ${workload.title}` : "", result.server, [
        Math.round(result.rate).toLocaleString("en"),
        result.cpu.toFixed(0),
        busy(result).toFixed(0),
        result.p50.toFixed(2),
        result.p99.toFixed(2),
        result.memory.toFixed(0),
        by("bare"),
        by("mercurius"),
      ]);
    }
  }
  print(HINTS);
}

/** @param {Verdict[]} verdicts @param {(line: string) => void} print */
export function printVerdicts(verdicts, print) {
  print(`${"goal".padEnd(28)}${"measured".padStart(10)}${"goal".padStart(8)}`);
  for (const { what, measured, goal, passed } of verdicts) {
    const figure = measured.toFixed(measured < 10 ? 2 : 0);
    print(`${what.padEnd(28)}${figure.padStart(10)}${String(goal).padStart(8)}  ${passed ? "pass" : "FAIL"}`);
  }
}

/**
 * What the figures hold for.
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
 * @param {Verdict[]} verdicts
 * @param {import("./start.mjs").Start | undefined} start
 */
export function writeComparison(folder, run, comparisons, verdicts, start) {
  const workloads = comparisons.map(({ workload: { name, title }, results }) => ({ name, title, results }));
  writeResult(folder, "bench.json", { ...run, workloads, goals: verdicts, start });
  writeFileSync(join(folder, "bench.svg"), drawChart(comparisons, run));
}

/** @param {string} folder @param {string} name @param {unknown} result */
export function writeResult(folder, name, result) {
  mkdirSync(folder, { recursive: true });
  const rounded = (/** @type {string} */ _, /** @type {unknown} */ value) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
  writeFileSync(join(folder, name), `${JSON.stringify(result, rounded, 2)}\n`);
}
