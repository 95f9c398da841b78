import type { Config } from "../../config/config.ts";

/** File descriptors besides connections: 64 listening sockets, 64 connections that are closed immediately, and the rest. */
const FILES_OF_GATEWAY = 192;
/** File descriptors of the embedded database's engine. */
const FILES_OF_EMBEDDED = 256;
/** The gateway does not start with fewer connections than this. */
export const FEWEST_CONNECTIONS = 16;

/** How many files the process may have open (`ulimit -n`); Infinity if there is no limit, or the system does not say. */
export function openFilesLimit(): number {
  const { report } = process as { report?: { getReport(): object; excludeNetwork?: boolean } };
  if (report) report.excludeNetwork = true;
  const { userLimits } = (report?.getReport() ?? {}) as { userLimits?: { open_files?: { soft: unknown } } };
  const limit = Number(userLimits?.open_files?.soft);
  return Number.isNaN(limit) ? Number.POSITIVE_INFINITY : limit;
}

/**
 * The maximum number of client connections: `maxConnections`, or fewer if the limit of open files requires it. Without a
 * free file descriptor, the gateway could neither reach its database nor write its log.
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
  // The pool can have twice as many connections while a database does not answer in time.
  const reserve = FILES_OF_GATEWAY + embedded + 2 * databasePoolSize;
  return Math.min(maxConnections, Math.max(limit - reserve, FEWEST_CONNECTIONS));
}
