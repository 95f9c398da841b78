// Exports all records of an account: with the command, and from a gateway over HTTP.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { memory } from "./children.mjs";
import { runGateway, watchCommand } from "./gateway.mjs";
import { startServer } from "./servers.mjs";

const FORMATS = /** @type {const} */ (["ndjson", "csv"]);
/** Connections of the gateway to PostgreSQL. */
const POOL = 4;

/**
 * @typedef {object} ExportRun
 * @property {string} what
 * @property {number} seconds
 * @property {number} peak MB of the process that exports
 */

/**
 * Exports the records in both formats, with the command and over HTTP. Throws if the last line of an export does not
 * give the number of the records.
 *
 * @param {string} database its URL
 * @param {string} account
 * @param {number} records
 * @param {string} folder for the exported files, which are then large
 * @param {(line: string) => void} say
 * @returns {Promise<ExportRun[]>}
 */
export async function measureExports(database, account, records, folder, say) {
  const scopes = "kyc:read,kyc:pii";
  const create = ["token", "create", "--account", account, "--name", "export", "--scopes", scopes];
  const token = await runGateway(create, database);
  const runs = [];
  for (const format of FORMATS) {
    say(`Exporting as ${format}`);
    const output = join(folder, `records.${format}`);
    const args = ["export", "--account", account, "--format", format];
    const { seconds, peak } = await watchCommand(args, { database, folder, output });
    expectCount(readFileSync(output).subarray(-2000).toString(), records);
    runs.push({ what: `export command, ${format}`, seconds, peak });
    runs.push(await overHttp(format, { database, token, records, folder }));
  }
  return runs;
}

/**
 * @param {string} format
 * @param {{ database: string, token: string, records: number, folder: string }} from
 * @returns {Promise<ExportRun>}
 */
async function overHttp(format, { database, token, records, folder }) {
  const server = await startServer("gateway", { database, pool: POOL, folder });
  const start = performance.now();
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`${server.url}/v1/export?format=${format}`, { headers });
  let tail = Buffer.alloc(0);
  for await (const part of response.body ?? []) tail = Buffer.concat([tail, part]).subarray(-2000);
  const seconds = (performance.now() - start) / 1000;
  expectCount(tail.toString(), records);
  const { peak } = memory(server.pid);
  await server.stop();
  return { what: `GET /v1/export, ${format}`, seconds, peak };
}

/** @param {string} end of an export @param {number} records */
function expectCount(end, records) {
  // The quotes are doubled in CSV.
  const count = /count"+: ?(\d+)/.exec(end)?.[1];
  if (Number(count) !== records) throw new Error(`The export has ${count} records in place of ${records}.`);
}
