import { randomUUID } from "node:crypto";
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { ConnectionError, FastifyError } from "fastify";
import { type AppError, RequestRefusal, toAppError } from "../errors.ts";
import { renderFailure } from "../rest/errors.ts";
import { commonHeaders } from "./headers.ts";

/** What a request is known by in its answer and in the log. */
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
 * Answers what is not HTTP, or has too large headers: there is no request then, and the connection can't go on. A
 * client that keeps it open is cut after `patience` milliseconds.
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
 * Cuts the connection where nothing of the answer was taken for so many milliseconds: whoever asks and does not read
 * would keep it for ever.
 */
export function cutSlowReader(response: ServerResponse, sendTimeout: number): void {
  response.setTimeout(sendTimeout, cut);
}

const cut = (socket?: Socket) => socket?.destroy();

const COMPRESSED = /\b(gzip|deflate|br|zstd|compress)\b/i;

/** Headers that mean one thing: of two lines with different values a proxy and this server could each obey another. */
const SINGLE = new Set(["host", "authorization", "content-type", "idempotency-key", "kyc-reason"]);

function findRepeated(rawHeaders: readonly string[]): string | undefined {
  const seen = new Set<string>();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] as string).toLowerCase();
    if (!SINGLE.has(name)) continue;
    if (seen.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}

/** Why a request with these headers can't be served, whatever it asks for. */
export function findHeaderFault({
  headers,
  httpVersion,
  rawHeaders,
}: IncomingMessage): RequestRefusal | undefined {
  if (headers.host === undefined && httpVersion === "1.1")
    return new RequestRefusal(400, "request_malformed", "The request has no Host.");
  const repeated = findRepeated(rawHeaders);
  if (repeated)
    return new RequestRefusal(400, "request_malformed", `The header ${repeated} is there more than once.`);
  if (COMPRESSED.test(headers["content-encoding"] ?? ""))
    return new RequestRefusal(415, "content_encoding_unsupported", "The body must not be compressed.");
  return undefined;
}

/** Fastify's own refusals of a request, in our words: its texts quote the request. */
export function toFailure(error: unknown): AppError | RequestRefusal {
  if (error instanceof RequestRefusal) return error;
  const { code, statusCode } = error as Partial<FastifyError>;
  // The client went away before it had sent all: nobody reads the answer.
  if (code === "ECONNRESET") return new RequestRefusal(400, "request_malformed", "The request ended early.");
  if (!code?.startsWith("FST_") || statusCode === undefined || statusCode >= 500) return toAppError(error);
  if (statusCode === 413)
    return new RequestRefusal(413, "body_too_large", "The body is larger than this server takes.");
  if (statusCode === 415)
    return new RequestRefusal(415, "content_type_unsupported", "The content type is malformed.");
  return new RequestRefusal(statusCode, "request_malformed", "The request is malformed.");
}
