// The gateway's own program, as it was built.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadSource } from "../test/support/load-source.mjs";

export const GATEWAY = fileURLToPath(new URL("../dist/cli.js", import.meta.url));

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
