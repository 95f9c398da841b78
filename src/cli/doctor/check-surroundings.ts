import { resolve } from "node:path";
import type { Config } from "../../config/config.ts";
import { DataDirError, inspectDataDir } from "../../db/embedded/data-dir.ts";
import { findLockHolder } from "../../db/embedded/folder-lock.ts";
import { describeAddress, isLoopback, readServerAddress } from "../../db/pool/server-address.ts";
import { isLoopbackHost } from "../../server/development-token.ts";
import { Area, type Finding } from "./finding.ts";

export const folders = new Area("data folder");
export const network = new Area("network");

/** Owner, mode and lock of the data folder. */
export async function checkDataDir({ dataDir }: Config): Promise<Finding[]> {
  const folder = resolve(dataDir);
  try {
    if (!inspectDataDir(dataDir))
      return [folders.ok("folder", `${folder} is not there yet: the first start makes it`)];
  } catch (error) {
    if (!(error instanceof DataDirError)) throw error;
    return [folders.problem("folder", error.message, "Do what it says: the gateway does not start")];
  }
  const holder = await findLockHolder(folder);
  const lock = holder === undefined ? "no process has it open" : `the process ${holder.pid} has it open`;
  return [folders.ok("folder", `${folder} is this user's alone`), folders.ok("lock", lock)];
}

/** Whether the connection to the database is encrypted and verified. */
export function checkDatabaseTls(url: string): Finding {
  const address = readServerAddress(url, process.env);
  const place = describeAddress(address);
  if (isLoopback(address)) return network.ok("database", `${place} is on this machine`);
  const { mode } = address.tls;
  const options = mode === "disable" ? undefined : address.tls.options();
  const todo = "Set sslmode=verify-full, and sslrootcert to the authority's certificate";
  if (mode === "require" && options?.rejectUnauthorized) {
    if (!options.checkServerIdentity) return network.ok("database", `${place} has to prove who it is (TLS)`);
    const found = `${place} has to show a certificate of the authority, for whatever name`;
    return network.warning("database", found, "Set sslmode=verify-full");
  }
  const found =
    mode === "require"
      ? `the way to ${place} is encrypted, but anybody could answer there (sslmode does not verify)`
      : `the way to ${place} may be unencrypted (sslmode)`;
  return network.warning("database", found, todo);
}

/** Who can reach the gateway, and how. */
export function checkListening({ host, port, trustedProxies, rateLimit }: Config): Finding[] {
  if (isLoopbackHost(host)) return [network.ok("HOST", `${host}:${port} is reached from this machine alone`)];
  const findings: Finding[] = [];
  if (trustedProxies.length === 0) {
    const found = `${host}:${port} is reached over the network without TLS, and TRUSTED_PROXIES is not set`;
    const todo =
      "Put a proxy with TLS in front, and name it in TRUSTED_PROXIES: tokens and numbers must not travel in the clear";
    findings.push(network.warning("HOST", found, todo));
  } else findings.push(network.ok("HOST", `${host}:${port}, behind the proxies of TRUSTED_PROXIES`));
  if (rateLimit > 0 && trustedProxies.length === 0) {
    const found = `without a good token, all clients behind a proxy share one RATE_LIMIT (${rateLimit})`;
    findings.push(network.warning("RATE_LIMIT", found, "Name the proxy in TRUSTED_PROXIES"));
  } else {
    const limit =
      rateLimit > 0 ? `${rateLimit} requests a minute` : "none: guesses at tokens are not slowed down";
    findings.push(network.ok("RATE_LIMIT", limit));
  }
  return findings;
}
