// The gateway's own program, as it was built.
import { execFile } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadSource } from "../test/support/load-source.mjs";
import { cpuMicros, memory, startChild } from "./children.mjs";

export const GATEWAY = fileURLToPath(new URL("../dist/cli.js", import.meta.url));

/** From one look at a process to the next. Milliseconds. */
const LOOK_MS = 50;

/** The key that the seeded numbers are sealed under. */
const KEY = { id: "bench", secret: Buffer.alloc(32, "bench") };
export const ENCRYPTION_KEYS = `${KEY.id}:${KEY.secret.toString("base64")}`;

/**
 * Seals numbers as the gateway does, for its own records at version 1.
 *
 * @returns {Promise<(account: string, id: string, number: string) => { sealedNumber: string, numberDigest: string }>}
 */
export async function openSealer() {
  const { Keyring } = await loadSource("sealing/keyring.ts");
  const { sealNumber } = await loadSource("kyc/number/document-number.ts");
  const keys = new Keyring([KEY]);
  return (account, id, number) => sealNumber(keys, account, { id, version: 1 }, number, true);
}

/**
 * The environment of a server. Nothing of the bench's own gets through: a NODE_OPTIONS or LOG_LEVEL there would change
 * what is measured.
 *
 * @param {Record<string, string>} variables
 */
export function environment(variables) {
  return { PATH: String(process.env.PATH), ...variables };
}

/** Runs a command of the gateway on a database, and gives what it prints. @param {string[]} args @param {string} url */
export async function runGateway(args, url) {
  const { stdout } = await promisify(execFile)(process.execPath, [GATEWAY, ...args], {
    env: environment({ DATABASE_URL: url, ENCRYPTION_KEYS }),
  });
  return stdout.trim();
}

/** @typedef {{ command: string, seconds: number, cpu: number, peak: number }} CommandRun CPU in seconds, memory in MB */

/**
 * Runs a command of the gateway to its end, and says how long it took and what it used. Throws if it ends with another code than
 * `success`, with the last of its messages.
 *
 * @param {string[]} args
 * @param {{ database: string, folder: string, output: string, success?: number }} options `output` is the file
 *   that gets what it prints; its messages go to the file `errors` of the folder; `success` is its exit code
 * @returns {Promise<CommandRun>}
 */
export async function watchCommand(args, { database, folder, output, success = 0 }) {
  const [stdout, stderr] = [openSync(output, "w", 0o600), openSync(join(folder, "errors"), "w")];
  const start = performance.now();
  const child = await startChild(process.execPath, [GATEWAY, ...args], {
    ...{ cwd: folder, env: environment({ DATABASE_URL: database, ENCRYPTION_KEYS }) },
    stdio: ["ignore", stdout, stderr],
  });
  closeSync(stdout);
  closeSync(stderr);
  let [peak, cpu] = [0, 0];
  const look = setInterval(() => {
    try {
      const now = { peak: memory(child.pid).peak, cpu: cpuMicros(child.pid) / 1e6 };
      // A process that has ended, but was not waited for, has no memory.
      if (now.peak > 0) [peak, cpu] = [now.peak, now.cpu];
    } catch {
      // It has just ended.
    }
  }, LOOK_MS);
  const code = await new Promise((resolve) => child.process.once("exit", resolve));
  clearInterval(look);
  const command = args.slice(0, 2).join(" ");
  if (code !== success) {
    const said = readFileSync(join(folder, "errors"), "utf8").trim().slice(-500);
    throw new Error(`${command} ended with ${code}: ${said}`);
  }
  return { command, seconds: (performance.now() - start) / 1000, cpu, peak };
}
