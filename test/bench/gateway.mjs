// The gateway's own program, as it was built.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const DISTRIBUTION = new URL("../../dist/", import.meta.url);
export const GATEWAY = fileURLToPath(new URL("cli.js", DISTRIBUTION));

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
    env: environment({ DATABASE_URL: url }),
  });
  return stdout.trim();
}
