// `npm run bench`: how fast the gateway is, compared with reference servers. `--help` lists the options.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stopChildren } from "./children.mjs";
import { measureClients, printClients } from "./clients.mjs";
import { compareServers } from "./compare.mjs";
import { measureCosts, printCosts } from "./costs.mjs";
import { GATEWAY } from "./gateway.mjs";
import { measureGrowth, printGrowth } from "./growth.mjs";
import { measureImport, printImport } from "./import.mjs";
import { measureLedger, printLedger } from "./ledger.mjs";
import { requireWrk } from "./load.mjs";
import { HELP, parseOptions } from "./options.mjs";
import { readVersion, startPostgres } from "./postgres.mjs";
import {
  describeRun,
  judge,
  printComparison,
  printRatios,
  printVerdicts,
  writeComparison,
  writeResult,
} from "./report.mjs";
import { openSession } from "./session.mjs";
import { printSoak, soak } from "./soak.mjs";
import { measureStart, printStart } from "./start.mjs";
import { measureSubscribers, printSubscribers } from "./subscribers.mjs";

/** Load average from which on other programs would take part in the result. */
const BUSY_LOAD = 0.5;

const print = (/** @type {string} */ line) => console.log(line);
const say = (/** @type {string} */ line) => console.error(line);

/** @param {import("./options.mjs").Options} options @param {string} scratch */
async function run(options, scratch) {
  if (process.platform !== "linux")
    throw new Error("It reads CPU and memory from /proc, which only Linux has.");
  if (!existsSync(GATEWAY)) throw new Error("There is no dist/cli.js to measure: npm run build.");
  if (options.mode !== "import") await requireWrk();
  mkdirSync(options.folder, { recursive: true });
  const postgres = await startPostgres(options.folder);
  const description = describeRun(options, await readVersion(postgres));
  const { cores, loadBefore } = description.machine;
  if (loadBefore > BUSY_LOAD) {
    say(
      `Others use this machine (load ${loadBefore.toFixed(1)} on ${cores} cores): the figures will be rough.`,
    );
  }
  if (options.mode === "growth") {
    const growth = await measureGrowth(postgres, options, scratch, say);
    printGrowth(growth, print);
    writeResult(options.out, "growth.json", { ...description, ...growth });
    return;
  }
  if (options.mode === "import") {
    const result = await measureImport(postgres, options, scratch, say);
    printImport(result, print);
    writeResult(options.out, "import.json", { ...description, ...result });
    return;
  }
  const session = await openSession(postgres, { records: options.records, folder: scratch, say });
  try {
    await runOn(session, options, description);
  } finally {
    await session.close();
  }
}

/**
 * @param {import("./session.mjs").Session} session
 * @param {import("./options.mjs").Options} options
 * @param {ReturnType<typeof describeRun>} description
 */
async function runOn(session, options, description) {
  if (options.mode === "soak") {
    const result = await soak(session, options, say);
    printSoak(result, print);
    writeResult(options.out, "soak.json", { ...description, ...result });
    return;
  }
  if (options.mode === "costs") {
    const result = await measureCosts(session, options, say);
    printCosts(result, print);
    print("");
    printVerdicts(result.verdicts, print);
    writeResult(options.out, "costs.json", { ...description, ...result });
    return;
  }
  if (options.mode === "ledger") {
    const result = await measureLedger(session, options, say);
    printLedger(result, print);
    writeResult(options.out, "ledger.json", { ...description, ...result });
    return;
  }
  if (options.mode === "subscribers") {
    const result = await measureSubscribers(session, options, say);
    printSubscribers(result, print);
    print("");
    printVerdicts(result.verdicts, print);
    writeResult(options.out, "subscribers.json", { ...description, ...result });
    return;
  }
  if (options.mode === "clients") {
    const clients = await measureClients(session, options, say);
    printClients(clients, print);
    writeResult(options.out, "clients.json", { ...description, clients });
    return;
  }
  const start = options.servers.includes("gateway") ? await measureStart(session, options) : undefined;
  if (options.mode === "start") {
    if (start) printStart(start, print);
    return;
  }
  const comparisons = await compareServers(session, options, say);
  const clients = options.withClients ? await measureClients(session, options, say) : undefined;
  const verdicts = judge(comparisons);
  print("");
  printComparison(comparisons, print);
  print("");
  printRatios(comparisons, print);
  print("");
  printVerdicts(verdicts, print);
  if (start) printStart(start, print);
  if (clients) {
    print("");
    printClients(clients, print);
  }
  writeComparison(options.out, description, comparisons, { verdicts, start, clients });
  print(`\n${join(options.out, "bench.json")}, bench.svg`);
}

/** @returns {Promise<number>} the exit code: 0 says that all was measured, not that all goals were met */
async function main() {
  let options;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    say(/** @type {Error} */ (error).message);
    return 2;
  }
  if (options.mode === "help") {
    print(HELP);
    return 0;
  }
  const scratch = mkdtempSync(join(tmpdir(), "kyc-bench-"));
  const tidyUp = async () => {
    await stopChildren();
    rmSync(scratch, { recursive: true, force: true });
  };
  let interrupted = false;
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) {
    process.once(signal, () => {
      interrupted = true;
      void tidyUp().finally(() => process.exit(130));
    });
  }
  try {
    await run(options, scratch);
    return 0;
  } catch (error) {
    // A measurement that fails because its server is being stopped is not reported.
    if (interrupted) return 130;
    const failure = /** @type {Error} */ (error);
    // The bench's own failures say all in their message.
    say(String(failure.constructor === Error ? failure.message : failure.stack));
    return 1;
  } finally {
    await tidyUp();
  }
}

process.exitCode = await main();
