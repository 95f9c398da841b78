import type { IncomingMessage } from "node:http";
import { isIP, isIPv6 } from "node:net";
import proxyAddr from "@fastify/proxy-addr";

/** The address of the client that sent a request, as IPv4 or IPv6 text. */
export type AddressOf = (request: Pick<IncomingMessage, "headers" | "socket">) => string;

/**
 * With trusted proxies (addresses, and networks such as 10.0.0.0/8), the client is the last address in
 * `X-Forwarded-For` that is not one of theirs, if a trusted proxy sent the request. Otherwise it is the connection's remote
 * address, because every client can send that header.
 */
export function createAddressOf(trustedProxies: readonly string[]): AddressOf {
  if (trustedProxies.length === 0) return ofConnection;
  const trusts = proxyAddr.compile([...trustedProxies]);
  return (request) => {
    const connected = ofConnection(request);
    if (!trusts(connected, 0)) return connected;
    // A proxy may pass on what a client wrote there, which can be anything.
    const named = withoutPort(
      proxyAddr(request as IncomingMessage, (address, hops) => trusts(withoutPort(address), hops)),
    );
    return isIP(named) ? toPlain(named) : connected;
  };
}

const ofConnection: AddressOf = ({ socket }) => toPlain(socket.remoteAddress ?? "");

/** An IPv4 address of a socket that listens to IPv6 as well, as IPv4. */
const toPlain = (address: string) => address.replace(/^::ffff:(?=[\d.]+$)/i, "");

/** Some proxies add the client's port: `192.0.2.1:5678`, `[2001:db8::1]:5678`. */
const withoutPort = (address: string) =>
  address.replace(/^\[(.*)\](:\d+)?$/, "$1").replace(/^([\d.]+):\d+$/, "$1");

const GROUPS = 8;
const GROUPS_OF_A_NETWORK = 4;

/**
 * The unit whose requests count together: an IPv4 address, or an IPv6 /64 network, because a single client can use all
 * addresses of such a network.
 */
export function networkOf(address: string): string {
  const [plain = ""] = address.split("%", 1);
  if (!isIPv6(plain)) return address;
  // A URL has only one way to write an address.
  const [before = [], after = []] = new URL(`http://[${plain}]`).hostname
    .slice(1, -1)
    .split("::")
    .map((part) => part.split(":").filter(Boolean));
  const zeros = Array<string>(GROUPS - before.length - after.length).fill("0");
  return [...before, ...zeros, ...after].slice(0, GROUPS_OF_A_NETWORK).join(":");
}
