import { isIP } from "node:net";
import type { AddressPolicy } from "./addresses.ts";

/** Characters. */
const LONGEST_URL = 2048;
/** Below it are the ports of other protocols. */
const FIRST_FREE_PORT = 1024;
const WEB_PORTS = new Set(["", "80", "443"]);

/** The host of a URL, without the brackets of IPv6. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}

/** A URL's scheme, host and port, for the log: no path, no query. */
export function originOf(url: string): string {
  return new URL(url).origin;
}

/** Whether its port is one that receivers in public networks may have. */
export const hasWebPort = ({ port }: URL): boolean => WEB_PORTS.has(port) || Number(port) >= FIRST_FREE_PORT;

/**
 * The fault of the URL of a webhook; null: it has none that can be known before a connection. `new URL` has made
 * numeric spellings of an address one, so decimal, octal and hexadecimal ones are found as well.
 */
export function findUrlFault(text: string, policy: AddressPolicy): string | null {
  if (text.length > LONGEST_URL || !URL.canParse(text)) {
    return `must be a URL of at most ${LONGEST_URL} characters, such as https://example.com/webhooks`;
  }
  const url = new URL(text);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && policy.allowsPrivate))
    return "must begin with https://";
  if (url.username !== "" || url.password !== "") return "must not have a user name or password";
  if (url.hash !== "") return "must not have a fragment";
  const host = hostOf(url);
  const isKnownPrivate = isIP(host) > 0 && policy.isAllowed(host);
  if (isIP(host) > 0 && !isKnownPrivate && !policy.isPublic(host))
    return "must not be a private or local address";
  if (/(^|\.)localhost\.?$/i.test(host) && !policy.allowsPrivate)
    return "must not be a private or local address";
  if (isIP(host) > 0 && url.protocol === "http:" && !isKnownPrivate) return "must begin with https://";
  // A name can turn out to be of an allowed network: the attempt decides then.
  const mayBePrivate = isKnownPrivate || (isIP(host) === 0 && policy.allowsPrivate);
  if (!mayBePrivate && !hasWebPort(url)) {
    return `must have the port 443, 80, or one from ${FIRST_FREE_PORT} on`;
  }
  return null;
}
