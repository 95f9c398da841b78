import { randomUUID } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { ConnectionError } from "fastify";
import { RequestRefusal } from "../errors.ts";
import { renderFailure } from "../rest/errors.ts";
import { SECURITY_HEADERS } from "./headers.ts";

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

/** Answers what is not HTTP, or has too large headers: there is no request then, and the connection can't go on. */
export function refuseConnection(error: ConnectionError, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) return;
  const failure = CONNECTION_REFUSALS[error.code] ?? MALFORMED;
  const body = JSON.stringify(renderFailure(failure));
  socket.end(
    [
      `HTTP/1.1 ${failure.status} ${STATUS_CODES[failure.status]}`,
      "connection: close",
      "content-type: application/json; charset=utf-8",
      `content-length: ${Buffer.byteLength(body)}`,
      `request-id: ${newRequestId()}`,
      ...Object.entries(SECURITY_HEADERS).map(([name, value]) => `${name}: ${value}`),
      "",
      body,
    ].join("\r\n"),
  );
}
