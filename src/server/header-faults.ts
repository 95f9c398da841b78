import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { isIPv6 } from "node:net";
import { RequestRefusal } from "../errors.ts";

/** No coding at all, however often it is written. A list may have empty elements. */
const UNCODED = /^[\s,]*(?:identity(?:[\s,]+|$))*$/i;

/** RFC 9112, section 6.1. The end of the body is not certain, so nothing may follow on the connection. */
const UNKNOWN_TRANSFER = new RequestRefusal(
  501,
  "transfer_encoding_unsupported",
  "The Transfer-Encoding of a body can be only chunked.",
  { connection: "close" },
);

/**
 * Headers that a request may have only once. If there were two, a proxy could have used the other one; Node joins some of
 * them and drops the second of others.
 */
const ONCE = new Map(
  ["Host", "Authorization", "Content-Length", "Content-Type", "Idempotency-Key", "Kyc-Reason"].map((name) => [
    name.toLowerCase(),
    name,
  ]),
);

/**
 * Header lines of a request. Apache allows half as many. Without a limit, the smallest lines take thirty times their
 * size in memory.
 */
export const MAX_HEADERS = 200;
const TOO_MANY_HEADERS = new RequestRefusal(
  431,
  "headers_too_large",
  `The request has more than ${MAX_HEADERS} headers.`,
);

/** Why a request with these headers can't be served, regardless of its route. */
export function findHeaderFault(request: IncomingMessage): RequestRefusal | undefined {
  if (request.rawHeaders.length > 2 * MAX_HEADERS) return TOO_MANY_HEADERS;
  const { headers, httpVersion } = request;
  const malformed = (message: string) => new RequestRefusal(400, "request_malformed", message);
  const repeated = findRepeated(request.rawHeaders);
  if (repeated !== undefined) return malformed(`The header ${repeated} is sent more than once.`);
  if (headers.host === undefined && httpVersion === "1.1") return malformed("The request has no Host.");
  if (headers.host !== undefined && !isHost(headers.host)) return malformed("The Host is malformed.");
  const transfer = headers["transfer-encoding"];
  if (transfer !== undefined) {
    if (httpVersion === "1.0") return malformed("HTTP/1.0 has no Transfer-Encoding.");
    if (!/^\s*chunked\s*$/i.test(transfer)) return UNKNOWN_TRANSFER;
  }
  if (!UNCODED.test(headers["content-encoding"] ?? ""))
    return new RequestRefusal(
      415,
      "content_encoding_unsupported",
      "The body must not be compressed or otherwise coded.",
      { "accept-encoding": "identity" },
    );
  return undefined;
}

function findRepeated(rawHeaders: readonly string[]): string | undefined {
  const seen = new Set<string>();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = ONCE.get((rawHeaders[at] as string).toLowerCase());
    if (name === undefined) continue;
    if (seen.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}

/** Why a request for WebSocket can't be served. Requests to upgrade to other protocols may be ignored. */
export function findUpgradeFault({ upgrade }: IncomingHttpHeaders): RequestRefusal | undefined {
  if (!/(?:^|,)\s*websocket\s*(?:[,/]|$)/i.test(upgrade ?? "")) return undefined;
  return new RequestRefusal(426, "upgrade_required", "WebSocket is not supported here: use HTTP/1.1.", {
    upgrade: "HTTP/1.1",
    connection: "upgrade",
  });
}

/**
 * A name, an IPv4 address, or an IPv6 address in brackets, with an optional port: RFC 9110, section 7.2, but without the
 * comma, with which a proxy joins two hosts.
 */
const HOST = /^(?:(?:[\w.~!$&'()*+;=-]|%[\da-f]{2})+|\[([\da-f:.]+)\])(?::(\d*))?$/i;
const MAX_PORT = 65_535;

function isHost(text: string): boolean {
  const [host, address, port] = HOST.exec(text) ?? [];
  return host !== undefined && (address === undefined || isIPv6(address)) && Number(port ?? 0) <= MAX_PORT;
}
