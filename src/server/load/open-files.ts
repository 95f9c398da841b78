import type { Config } from "../../config/config.ts";

/** What the process opens besides connections: 64 listening sockets, as many that are closed as they come, and the rest. */
const FILES_OF_GATEWAY = 192;
/** What the embedded database's engine opens. */
const FILES_OF_EMBEDDED = 256;
/** With fewer connections a gateway is of no use. */
const FEWEST_CONNECTIONS = 16;

/** How many files the process may have open (`ulimit -n`); Infinity if there is no limit, or the system does not say. */
export function openFilesLimit(): number {
  const { report } = process as { report?: { getReport(): object; excludeNetwork?: boolean } };
  if (report) report.excludeNetwork = true;
  const { userLimits } = (report?.getReport() ?? {}) as { userLimits?: { open_files?: { soft: unknown } } };
  const limit = Number(userLimits?.open_files?.soft);
  return Number.isNaN(limit) ? Number.POSITIVE_INFINITY : limit;
}

/**
 * How many connections of clients there may be: `maxConnections`, or as many as the limit of open files leaves room for.
 * Without a file to open, no statement could be sent and nothing be logged.
 */
export function roomForConnections(
  {
    maxConnections,
    databaseUrl,
    databasePoolSize,
  }: Pick<Config, "maxConnections" | "databaseUrl" | "databasePoolSize">,
  limit: number,
): number {
  const embedded = databaseUrl === undefined ? FILES_OF_EMBEDDED : 0;
  // The pool has up to as many connections again while a database does not answer in time.
  const reserve = FILES_OF_GATEWAY + embedded + 2 * databasePoolSize;
  return Math.min(maxConnections, Math.max(limit - reserve, FEWEST_CONNECTIONS));
}
