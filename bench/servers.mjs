// The servers under measurement: each is its own process on the same database.
import { closeSync, openSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startChild, waitFor } from "./children.mjs";
import { ENCRYPTION_KEYS, environment, GATEWAY } from "./gateway.mjs";
import { ACCOUNT } from "./seed.mjs";

/**
 * `audited` is the gateway with reads in its audit trail.
 * @typedef {"gateway" | "audited" | Reference} ServerName
 */
/** @typedef {"bare" | "mercurius" | "bare-duties" | "mercurius-duties"} Reference */

/** These check no token, encrypt nothing, and write neither events nor a log. @type {Reference[]} */
export const WITHOUT_DUTIES = ["bare", "mercurius"];

/** The references in their two groups. @type {{ title: string, references: Reference[] }[]} */
export const REFERENCE_GROUPS = [
  { title: "with the gateway's duties", references: ["bare-duties", "mercurius-duties"] },
  { title: "without", references: WITHOUT_DUTIES },
];

/** @type {ServerName[]} */
export const SERVER_NAMES = [
  "gateway",
  "audited",
  ...REFERENCE_GROUPS.flatMap(({ references }) => references),
];

const local = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const reference = (/** @type {string} */ name) => [
  ...["--import", local("servers/mend-driver.mjs")],
  local(`servers/${name}.mjs`),
];

/** The arguments of `node`: for the gateway the same as with `npm start`. */
const PROGRAMS = {
  gateway: [GATEWAY, "serve"],
  audited: [GATEWAY, "serve"],
  bare: reference("bare"),
  mercurius: reference("mercurius"),
  "bare-duties": reference("bare-duties"),
  "mercurius-duties": reference("mercurius-duties"),
};

// As in production: without it, graphql-js checks more at each type that it looks at. The gateway sets it itself.
const NODE_ENV = "production";

const VARIABLES = {
  gateway: { ENCRYPTION_KEYS },
  audited: { ENCRYPTION_KEYS, AUDIT_READS: "on" },
  bare: { ACCOUNT, NODE_ENV },
  mercurius: { ACCOUNT, NODE_ENV },
  "bare-duties": { ENCRYPTION_KEYS, NODE_ENV },
  "mercurius-duties": { ENCRYPTION_KEYS, NODE_ENV },
};

/**
 * @typedef {object} Server
 * @property {ServerName} name
 * @property {string} url
 * @property {number} pid
 * @property {() => void} trimLog empties its log, which grows with every request
 * @property {() => Promise<void>} stop
 */

/**
 * Starts a server, and returns it as soon as it listens. Its output goes to a file; for the gateway and the references
 * with its duties that is a line for each request.
 *
 * @param {ServerName} name
 * @param {{ database: string, pool: number, folder: string, variables?: Record<string, string> }} options `variables`
 *   are added to the environment
 * @returns {Promise<Server>}
 */
export async function startServer(name, { database, pool, folder, variables }) {
  const log = join(folder, `${name}-${process.pid}-${Math.random().toString(36).slice(2)}.log`);
  const output = openSync(log, "a");
  const child = await startChild(process.execPath, PROGRAMS[name], {
    cwd: folder,
    env: environment({
      DATABASE_URL: database,
      DATABASE_POOL_SIZE: String(pool),
      PORT: "0",
      ...VARIABLES[name],
      ...variables,
    }),
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  const url = await waitFor(
    () => {
      const text = readFileSync(log, "utf8");
      if (child.process.exitCode !== null) throw new Error(`${name} did not start:\n${text}`);
      // With the end of the line: otherwise the first digits of a port could be read as the whole port.
      return /http:\/\/127\.0\.0\.1:\d+(?=[/\n])/.exec(text)?.[0];
    },
    { timeout: 20_000, what: `${name} to listen` },
  );
  return {
    name,
    url,
    pid: child.pid,
    trimLog: () => truncateSync(log),
    stop: async () => {
      await child.stop();
      rmSync(log, { force: true });
    },
  };
}
