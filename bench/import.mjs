// How fast a file is imported and its records are exported, and in how much memory.
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import postgres from "postgres";
import { cpuMicros } from "./children.mjs";
import { measureExports } from "./exports.mjs";
import { runGateway, watchCommand } from "./gateway.mjs";

/** Seconds for a million lines on two cores that do nothing else, and MB of the import and of each export. */
const GOAL = { seconds: 180, peak: 250 };
const DATABASE = "kyc_bench_import";
const ACCOUNT = "bench";
/** One line of so many is bad. */
const BAD_EVERY = 1000;

/**
 * @typedef {object} ImportRun
 * @property {number} lines
 * @property {number} imported
 * @property {number} bad
 * @property {number} seconds
 * @property {number} perSecond
 * @property {number} nodeMicros the CPU time of the import for each line
 * @property {number | null} postgresMicros the same of PostgreSQL; null: it is not on this machine
 * @property {number} peak MB
 * @property {boolean} passed
 * @property {import("./exports.mjs").ExportRun[]} exports
 * @property {boolean} passedExports
 */

const HEADER = "id,customer_id,verification_status,document_type,document_number,created_at,updated_at";
const STATUSES = ["pending", "in_review", "verified", "failed", "expired"];
const TYPES = ["passport", "drivers_license", "id_card", "visa"];

/** Ways in which a line is bad. @type {((cells: string[]) => string | Buffer)[]} */
const BREAKS = [
  (cells) => cells.with(2, "nope").join(),
  (cells) => cells.with(3, "library card").join(),
  (cells) => cells.with(1, "").join(),
  (cells) => cells.with(4, "9".repeat(65)).join(),
  (cells) => cells.with(1, `"${cells[1]}`).join(),
  (cells) => cells.slice(0, 4).join(),
  (cells) => cells.with(5, "4102444800").with(6, "4102444800").join(),
  (cells) => cells.with(0, idOf(0)).join(),
  (cells) => Buffer.concat([Buffer.from(cells.join()), Buffer.from([0xff])]),
  (cells) => cells.with(5, "yesterday").join(),
];

const idOf = (/** @type {number} */ n) => `Bench${n.toString(36).padStart(11, "0")}`;

/** Writes a file of CSV with so many lines of records. @param {string} path @param {number} lines */
function writeLines(path, lines) {
  const file = openSync(path, "w", 0o600);
  writeSync(file, `${HEADER}\n`);
  /** @type {Buffer[]} */
  let parts = [];
  for (let n = 0; n < lines; n++) {
    const at = 1_500_000_000 + n * 100;
    const cells = [idOf(n), `cus_${(n * 7) % 800_000}`, STATUSES[n % 5], TYPES[n % 4]].map(String);
    cells.push(`P${(n * 7919) % 1e9}`, String(at), String(at + 5000));
    const isBad = n % BAD_EVERY === BAD_EVERY - 1;
    const broken = isBad ? BREAKS[Math.floor(n / BAD_EVERY) % BREAKS.length]?.(cells) : undefined;
    parts.push(Buffer.from(broken ?? cells.join()), Buffer.from("\n"));
    if (parts.length < 20_000 && n < lines - 1) continue;
    writeSync(file, Buffer.concat(parts));
    parts = [];
  }
  closeSync(file);
}

/**
 * Imports a file with so many lines, one in a thousand of which is bad, into a new database, and exports the records.
 *
 * @param {string} server a superuser's URL
 * @param {import("./options.mjs").Options} options
 * @param {string} folder
 * @param {(line: string) => void} say
 * @returns {Promise<ImportRun>}
 */
export async function measureImport(server, { records: lines }, folder, say) {
  const file = join(folder, "import.csv");
  say(`Writing ${lines.toLocaleString("en")} lines`);
  writeLines(file, lines);
  const sql = postgres(server, { max: 1, onnotice: () => {} });
  await sql.unsafe(`drop database if exists ${DATABASE}`);
  await sql.unsafe(`create database ${DATABASE}`);
  try {
    const url = new URL(server);
    url.pathname = `/${DATABASE}`;
    await runGateway(["migrate"], url.href);
    const [row] = await sql`select pg_backend_pid() as pid`;
    const postmaster = parentOf(Number(row?.pid));
    const before = postmaster && familyMicros(postmaster);
    say("Importing them");
    const output = join(folder, "outcome.json");
    const args = ["import", file, `--account=${ACCOUNT}`, "--json"];
    // It ends with 1 because some lines are bad.
    const options = { database: url.href, folder, output, success: lines >= BAD_EVERY ? 1 : 0 };
    const { seconds, cpu, peak } = await watchCommand(args, options);
    const outcome = JSON.parse(readFileSync(output, "utf8"));
    const after = postmaster && familyMicros(postmaster);
    const exports = await measureExports(url.href, ACCOUNT, outcome.imported, folder, say);
    return {
      ...{ lines, imported: outcome.imported, bad: outcome.bad, seconds, perSecond: lines / seconds },
      ...{ nodeMicros: (1e6 * cpu) / lines, peak, exports },
      postgresMicros: before && after ? (after - before) / lines : null,
      passed: seconds <= (GOAL.seconds * lines) / 1e6 && peak <= GOAL.peak,
      passedExports: exports.every((run) => run.peak <= GOAL.peak),
    };
  } finally {
    await sql.unsafe(`drop database if exists ${DATABASE}`);
    await sql.end();
  }
}

/** The parent of a process; undefined: there is no such process on this machine. @param {number} pid */
function parentOf(pid) {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  } catch {
    return undefined;
  }
}

/** The CPU time of a process with its children, also those that have ended. @param {number} pid */
function familyMicros(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ended = (Number(fields[13]) + Number(fields[14])) * 10_000;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean);
  return children.reduce((sum, child) => sum + cpuMicros(Number(child)), cpuMicros(pid) + ended);
}

/** @param {ImportRun} run @param {(line: string) => void} print */
export function printImport(run, print) {
  const { lines, imported, bad, seconds, perSecond, nodeMicros, postgresMicros, peak } = run;
  print(`${lines.toLocaleString("en")} lines: ${imported} imported, ${bad} bad`);
  print(`${seconds.toFixed(1)} s, ${Math.round(perSecond)} a second, at most ${Math.round(peak)} MB`);
  const ofPostgres = postgresMicros === null ? "unknown" : `${Math.round(postgresMicros)} µs`;
  print(`CPU for each line: ${Math.round(nodeMicros)} µs of the import, ${ofPostgres} of PostgreSQL`);
  print(`${run.passed ? "met" : "MISSED"}: ${GOAL.seconds} s for a million lines, ${GOAL.peak} MB`);
  for (const { what, seconds: took, peak: most } of run.exports)
    print(`${what}: ${took.toFixed(1)} s, at most ${Math.round(most)} MB`);
  print(`${run.passedExports ? "met" : "MISSED"}: ${GOAL.peak} MB for exports`);
}
