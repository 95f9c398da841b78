import { existsSync, fstatSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { totalmem } from "node:os";
import { dirname, resolve } from "node:path";
import type { Config } from "../../config/config.ts";
import { FEWEST_CONNECTIONS, openFilesLimit, roomForConnections } from "../../server/load/open-files.ts";
import { Area, type Finding } from "./finding.ts";

export const limits = new Area("limits");

const MIB = 1024 ** 2;
/** The memory of a loaded gateway without its clients' memory, and of the embedded database. MiB. */
const GATEWAY_MIB = 160;
const EMBEDDED_MIB = 350;
/** Below the first, PostgreSQL stops soon; below the second, operators should make room. MiB. */
const NO_SPACE_MIB = 100;
const LITTLE_SPACE_MIB = 1024;

/** Open files against MAX_CONNECTIONS and the pool. */
export function checkFiles(config: Config): Finding {
  const limit = openFilesLimit();
  const room = roomForConnections(config, limit);
  const wanted = config.maxConnections;
  const found = `ulimit -n is ${limit}: room for ${room} of MAX_CONNECTIONS (${wanted})`;
  const todo = `Raise it (LimitNOFILE=${2 ** Math.ceil(Math.log2(wanted + 1000))} under systemd), or lower MAX_CONNECTIONS`;
  if (room >= wanted) return limits.ok("open files", found);
  if (room > FEWEST_CONNECTIONS) return limits.warning("open files", found, todo);
  return limits.problem("open files", found, todo);
}

/** Compares the memory that the configuration allows with the memory that is available. */
export function checkMemory({ databaseUrl, ...config }: Config): Finding {
  const constrained = process.constrainedMemory?.() || Number.POSITIVE_INFINITY;
  const isConstrained = constrained < totalmem();
  const available = Math.floor(Math.min(constrained, totalmem()) / MIB);
  const base = GATEWAY_MIB + (databaseUrl === undefined ? EMBEDDED_MIB : 0);
  const clients = (config.uploadMemoryLimit + config.unsentMemoryLimit + config.logBufferLimit) / MIB;
  const needed = Math.ceil(base + clients);
  const where = isConstrained ? "the memory limit (cgroup)" : "this machine's memory";
  const found = `up to about ${needed} MiB of ${available} MiB, ${where}`;
  const todo = `Allow ${needed} MiB, or lower UPLOAD_MEMORY_LIMIT and UNSENT_MEMORY_LIMIT`;
  if (available < base) return limits.problem("memory", found, todo);
  return available < needed ? limits.warning("memory", found, todo) : limits.ok("memory", found);
}

/** Room for the embedded database, and for a log that is written to a file. */
export async function checkDisks({ databaseUrl, dataDir }: Config): Promise<Finding[]> {
  const findings: Finding[] = [];
  if (databaseUrl === undefined)
    findings.push(await checkDisk("disk of DATA_DIR", resolve(dataDir), limits.problem));
  // The log is written to stdout. If that is a file, it grows.
  if (fstatSync(1).isFile())
    findings.push(await checkDisk("disk of the log", "/proc/self/fd/1", limits.warning));
  return findings;
}

async function checkDisk(check: string, path: string, report: typeof limits.problem): Promise<Finding> {
  let nearest = path;
  while (!existsSync(nearest)) nearest = dirname(nearest);
  const { bavail, bsize, files, ffree } = await statfs(nearest);
  const free = Math.floor((bavail * bsize) / MIB);
  const noNames = files > 0 && ffree < 100;
  const found = `${free} MiB are free${noNames ? `, and room for ${ffree} files` : ""}`;
  const todo = "Make room, or use another disk";
  if (free < NO_SPACE_MIB || noNames) return report.call(limits, check, found, todo);
  return free < LITTLE_SPACE_MIB ? limits.warning(check, found, todo) : limits.ok(check, found);
}
