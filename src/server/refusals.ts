import { randomUUID } from "node:crypto";
import { type Server, ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
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
