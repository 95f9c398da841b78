import { readFile } from "node:fs/promises";
import type { FastifyRequest } from "fastify";

const LOOPBACK = /^(127(\.\d{1,3}){3}|::1|::ffff:127(\.\d{1,3}){3})$/;

/** What proxies, tunnels and content delivery networks add. */
const OF_PROXIES =
  /^(forwarded|via|cdn-loop|client-ip|true-client-ip|x-real-ip|(x-forwarded|x-original|x-client|x-cluster|x-envoy|x-amzn?|x-azure|x-appengine|cf|fastly|ngrok|tailscale)-.*)$/;

/** Whether this is an address that only programs on this machine can reach. */
export const isLoopbackHost = (host: string): boolean => host === "localhost" || LOOPBACK.test(host);

/**
 * Whether a page goes to a browser on this machine, of the user who runs the gateway, who asked for it by name: then
 * it may show what this user alone can read. Each condition is there for those whom the others let pass:
 * - the connection is of this machine: others, also where the gateway listens wider than it thinks;
 * - no proxy has touched the request: the world behind a proxy on this machine;
 * - `Host` is a name of this machine, with our port: a site whose name was bound to this address (DNS rebinding), and
 *   tunnels that keep the name;
 * - the browser says that its user goes to the page, from nowhere or from a page of ours: scripts, frames and links of
 *   other sites, also of those that CORS allows;
 * - the other end of the connection is a process of the same user, where the system tells: other users of the machine,
 *   and proxies that run as such.
 */
export async function isOwnersBrowser(request: FastifyRequest): Promise<boolean> {
  const { headers, raw } = request;
  const { remoteAddress = "", localAddress = "", remotePort = 0, localPort = 0 } = raw.socket;
  return (
    LOOPBACK.test(remoteAddress) &&
    LOOPBACK.test(localAddress) &&
    raw.httpVersion === "1.1" &&
    !Object.keys(headers).some((name) => OF_PROXIES.test(name)) &&
    ownNames(localPort).includes(headers.host?.toLowerCase() ?? "") &&
    headers["sec-fetch-mode"] === "navigate" &&
    headers["sec-fetch-dest"] === "document" &&
    ["none", "same-origin"].includes(String(headers["sec-fetch-site"])) &&
    (await isOwnersSocket(remotePort, localPort))
  );
}

function ownNames(port: number): string[] {
  const names = ["localhost", "127.0.0.1", "[::1]"];
  return port === 80 ? names : names.map((name) => `${name}:${port}`);
}

const ROOT = 0;

/** Linux tells whose each connection is. Elsewhere nobody does, and nothing is known against it. */
async function isOwnersSocket(port: number, peerPort: number): Promise<boolean> {
  const tables = await Promise.all(
    ["/proc/net/tcp", "/proc/net/tcp6"].map((file) => readFile(file, "latin1").catch(() => undefined)),
  );
  if (tables.every((table) => table === undefined)) return process.platform !== "linux";
  const owners = tables.flatMap((table) => findOwners(table ?? "", port, peerPort));
  // Root can read everything anyway.
  return owners.length > 0 && owners.every((owner) => owner === process.getuid?.() || owner === ROOT);
}

/** The user ids behind the connections from this port to that one, in a table as /proc/net/tcp is. */
export function findOwners(table: string, port: number, peerPort: number): number[] {
  const hex = (number: number) => number.toString(16).toUpperCase().padStart(4, "0");
  const [from, to] = [`:${hex(port)}`, `:${hex(peerPort)}`];
  return table
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = "", remote = ""]) => local.endsWith(from) && remote.endsWith(to))
    .map((columns) => Number(columns[7]));
}
