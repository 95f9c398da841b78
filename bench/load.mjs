// The load: wrk, driven by a Lua script that is written here for each workload.
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { cpuMicros, startChild } from "./children.mjs";
import { DEFAULT_HEADERS, HOLE, STATUSES, TYPES } from "./workloads.mjs";

/** How long wrk may take beyond its duration. Milliseconds. */
const GRACE = 20_000;

/** How long an answer may take, in seconds: longer than on a machine that others keep busy. */
const ANSWER_TIMEOUT = 10;

/** Fails with what to do if wrk is missing. */
export async function requireWrk() {
  // It prints its version with exit code 1.
  const missing = await promisify(execFile)("wrk", ["-v"]).then(
    () => false,
    (/** @type {NodeJS.ErrnoException} */ error) => error.code === "ENOENT",
  );
  if (missing) {
    throw new Error("The load comes from wrk, which is not installed: apt-get install wrk.");
  }
}

/**
 * @typedef {object} Measurement
 * @property {number} requests that were answered
 * @property {number} seconds
 * @property {number} rate requests a second
 * @property {number} cpu microseconds of the server process for a request
 * @property {number} p50 milliseconds
 * @property {number} p99 milliseconds
 * @property {number} bytes of an answer, with its headers
 */

/**
 * Loads a server for some seconds, over connections that each send the next request as soon as they are answered. Fails
 * if one answer was not a success. The same seed sends the same requests.
 *
 * @param {import("./servers.mjs").Server} server
 * @param {import("./workloads.mjs").Workload} workload
 * @param {import("./session.mjs").Session} session
 * @param {{ seconds: number, seed: number, connections: number }} options
 * @returns {Promise<Measurement>}
 */
export async function load(server, workload, session, { seconds, seed, connections }) {
  const script = join(session.folder, `${workload.name}.lua`);
  writeFileSync(script, writeScript(workload, session, seed));
  const before = cpuMicros(server.pid);
  const summary = await runWrk(
    ["-t1", `-c${connections}`, `--timeout=${ANSWER_TIMEOUT}s`, `-d${seconds}s`, "-s", script, server.url],
    seconds,
  );
  const cpu = cpuMicros(server.pid) - before;
  const faults = Object.entries(summary.errors).filter(([, count]) => count > 0);
  if (faults.length > 0 || summary.requests === 0) {
    const list = faults.map(([kind, count]) => `${count} × ${kind}`).join(", ");
    throw new Error(`${server.name} failed under ${workload.name}: ${list || "nothing was answered"}`);
  }
  server.trimLog();
  const elapsed = summary.micros / 1e6;
  return {
    requests: summary.requests,
    seconds: elapsed,
    rate: summary.requests / elapsed,
    cpu: cpu / summary.requests,
    p50: summary.p50 / 1000,
    p99: summary.p99 / 1000,
    bytes: summary.bytes / summary.requests,
  };
}

/**
 * @param {string[]} args
 * @param {number} seconds
 * @returns {Promise<{ requests: number, micros: number, bytes: number, p50: number, p99: number,
 *   errors: Record<string, number> }>}
 */
async function runWrk(args, seconds) {
  const child = await startChild("wrk", args, { stdio: ["ignore", "pipe", "pipe"] });
  const late = setTimeout(() => child.process.kill("SIGKILL"), seconds * 1000 + GRACE);
  let output = "";
  for (const stream of [child.process.stdout, child.process.stderr]) {
    stream?.on("data", (chunk) => {
      output += chunk;
    });
  }
  await new Promise((resolve) => child.process.once("close", resolve));
  clearTimeout(late);
  const line = /^bench (.*)$/m.exec(output)?.[1];
  if (line === undefined) throw new Error(`wrk did not finish:\n${output}`);
  return JSON.parse(line);
}

/**
 * @param {import("./workloads.mjs").Workload} workload
 * @param {import("./session.mjs").Session} session
 * @param {number} seed
 */
function writeScript(workload, session, seed) {
  const functions = workload.parts.map(({ path = "/graphql", headers = DEFAULT_HEADERS, body }) => {
    const lines = { host: "bench", authorization: `Bearer ${session.token}`, ...headers };
    const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
    const rest = ` HTTP/1.1\r\n${head.join("")}`;
    return body === undefined
      ? `function() return "GET " .. ${toLua(path)} .. ${quote(`${rest}\r\n`)} end`
      : `function() return post(${quote(`POST ${path}${rest}`)}, ${toLua(body)}) end`;
  });
  let sum = 0;
  const choices = workload.parts.map(({ share }, index) => {
    sum += share;
    return `  if dice <= ${sum} then return parts[${index + 1}]() end`;
  });
  return `
math.randomseed(${seed})
local function lines(path)
  local list = {}
  for line in io.lines(path) do list[#list + 1] = line end
  return list
end
local function pick(list) return list[math.random(#list)] end
local ids, customers, cursors = lines(${quote(session.files.id)}), lines(${quote(session.files.customer)}), lines(${quote(session.files.cursor)})
local statuses, types = {${STATUSES.map(quote)}}, {${TYPES.map(quote)}}
local function post(head, body) return head .. "content-length: " .. #body .. "\\r\\n\\r\\n" .. body end
local parts = {
  ${functions.join(",\n  ")}
}
function request()
  local dice = math.random(100)
${choices.join("\n")}
end
-- An error of GraphQL has status 200 too: an answer without a record counts as one.
empty = 0
function response(status, headers, body)
  if not body:find('"customer', 1, true) then empty = empty + 1 end
end
local thread
function setup(one) thread = one end
function done(summary, latency)
  local e = summary.errors
  print(string.format('bench {"requests":%d,"micros":%d,"bytes":%d,"p50":%d,"p99":%d,"errors":{"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d,"empty":%d}}',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.timeout, e.status, thread:get("empty")))
end
`;
}

const FILLINGS = {
  id: "pick(ids)",
  customer: "pick(customers)",
  cursor: "pick(cursors)",
  status: "pick(statuses)",
  type: "pick(types)",
  number: "math.random(100000000, 999999999)",
};

/** An expression that joins a text and what fills its holes. @param {string} text */
function toLua(text) {
  return text
    .split(HOLE)
    .map((piece, index) =>
      index % 2 === 0 ? quote(piece) : FILLINGS[/** @type {keyof typeof FILLINGS} */ (piece)],
    )
    .join(" .. ");
}

/** Lua reads what JSON escapes, as long as it is ASCII. @param {string} text */
function quote(text) {
  return JSON.stringify(text);
}
