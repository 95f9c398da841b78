import { randomUUID } from "node:crypto";
import {
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  ServerResponse,
  STATUS_CODES,
} from "node:http";
import { isIPv6, type Socket } from "node:net";
import type { ConnectionError, FastifyError } from "fastify";
import { type AppError, RequestRefusal, toAppError } from "../errors.ts";
import { renderFailure } from "../rest/errors.ts";
import { commonHeaders } from "./headers.ts";

/** Identifies a request in its answer and in the log. */
export const newRequestId = () => `req_${randomUUID()}`;

const MALFORMED = new RequestRefusal(400, "request_malformed", "The request is malformed.");
const CONNECTION_REFUSALS: Record<string, RequestRefusal> = {
  HPE_HEADER_OVERFLOW: new RequestRefusal(
    431,
    "headers_too_large",
    "The request line and headers are larger than this server takes.",
  ),
  ERR_HTTP_REQUEST_TIMEOUT: new RequestRefusal(
    408,
    "request_timeout",
    "The request took too long to arrive.",
  ),
};

/**
 * Answers invalid HTTP and too large headers. There is no request in this case, and the connection can't be used any more.
 * If the client keeps it open, it is cut after `patience` milliseconds.
 */
export function refuseConnection(error: ConnectionError, socket: Socket, patience: number): void {
  if (error.code === "ECONNRESET" || !socket.writable) return;
  const failure = CONNECTION_REFUSALS[error.code] ?? MALFORMED;
  const body = JSON.stringify(renderFailure(failure));
  socket.setTimeout(patience, () => socket.destroy());
  socket.end(
    [
      `HTTP/1.1 ${failure.status} ${STATUS_CODES[failure.status]}`,
      "connection: close",
      "content-type: application/json; charset=utf-8",
      `content-length: ${Buffer.byteLength(body)}`,
      ...Object.entries(commonHeaders({}, newRequestId())).map(([name, value]) => `${name}: ${value}`),
      "",
      body,
    ].join("\r\n"),
  );
}

/**
 * Makes a server answer CONNECT like any other unsupported method. Without a listener, Node closes the connection without
 * an answer. If the client keeps it open, it is cut after `patience` milliseconds.
 */
export function answerConnect(server: Server, patience: number): void {
  server.on("connect", (request, socket: Socket) => {
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.once("finish", () => socket.end());
    socket.on("error", () => socket.destroy());
    socket.setTimeout(patience, () => socket.destroy());
    server.emit("request", request, response);
  });
}

/** Cuts the connection if the client reads nothing of its answer for `sendTimeout` milliseconds. */
export function cutSlowReader(response: ServerResponse, sendTimeout: number): void {
  response.setTimeout(sendTimeout, cut);
}

const cut = (socket?: Socket) => socket?.destroy();

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

/** Replaces Fastify's own refusals by ours, because its texts quote the request. */
export function toFailure(error: unknown): AppError | RequestRefusal {
  if (error instanceof RequestRefusal) return error;
  const { code, statusCode } = error as Partial<FastifyError>;
  // The client left before it had sent everything, so nobody reads the answer.
  if (code === "ECONNRESET") return new RequestRefusal(400, "request_malformed", "The request ended early.");
  if (!code?.startsWith("FST_") || statusCode === undefined || statusCode >= 500) return toAppError(error);
  if (statusCode === 413)
    return new RequestRefusal(413, "body_too_large", "The body is larger than this server takes.");
  if (statusCode === 415)
    return new RequestRefusal(415, "content_type_unsupported", "The content type is malformed.");
  return new RequestRefusal(statusCode, "request_malformed", "The request is malformed.");
}
