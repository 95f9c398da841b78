import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import type { Config } from "../../config/config.ts";
import { overloaded } from "../../errors.ts";
import type { HttpMetrics } from "../../http-metrics.ts";
import { Turns } from "../../lib/turns.ts";
import { type Holder, MemoryBudget } from "./memory-budget.ts";
import { PIECES_TOO_SMALL, PieceCount, Reading } from "./reading.ts";
import { Upload } from "./upload.ts";

declare module "node:http" {
  interface IncomingMessage {
    /** Its body, if it has one. */
    upload?: Upload;
  }
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  /** The memory that counts for it in addition to its body. Bytes. */
  bytes: number;
  /** Whether the answer is a stream of events. */
  isStreamed?: boolean;
}

/** How often headers that are still arriving, and what streams have not sent, are counted. Milliseconds. */
const SWEEP_MS = 500;
/** Node's memory for a request without its headers. Bytes. */
const REQUEST_BYTES = 4096;
/** Node's memory for a header's name or value in addition to its text. Bytes. */
const TEXT_BYTES = 64;

interface Limits extends Pick<Config, "bodyLimit" | "uploadMemoryLimit" | "unsentMemoryLimit"> {
  /** Of the request line and the headers together. Bytes. */
  maxHeaderSize: number;
}

/**
 * The connections of a server. Each has one request in progress at a time; pipelined requests begin one after another. The
 * memory for clients is limited over all connections: requests that are arriving or waiting by `uploadMemoryLimit`, answers
 * that clients have not read by `unsentMemoryLimit`. Above a limit, the connections with the most memory are cut first: an
 * upload is refused with UNAVAILABLE, any other connection is closed.
 */
export class HttpConnections {
  readonly #open = new Map<Socket, Connection>();
  readonly #shared: Omit<Shared, "next">;

  constructor(limits: Limits, metrics: HttpMetrics) {
    const uploads = new MemoryBudget(limits.uploadMemoryLimit);
    const unsent = new MemoryBudget(limits.unsentMemoryLimit);
    metrics.watchMemory(() => ({ uploads: uploads.total, unsent: unsent.total }));
    const reading = new Reading({ [Symbol.iterator]: () => this.#open.keys() });
    this.#shared = { limits, uploads, unsent, metrics, reading, beginnings: new Turns() };
  }

  /** Counts an answer from when it is passed to its connection until the client has read it. */
  holdAnswer(request: IncomingMessage, bytes: number): void {
    this.#open.get(request.socket)?.holdAnswer(bytes);
  }

  /** Counts what a stream of events has not sent and, instead of the request, so many bytes until the stream ends. */
  streamAnswer(request: IncomingMessage, bytes: number): void {
    this.#open.get(request.socket)?.streamAnswer(bytes);
  }

  /** Must be called once. From then on the server's requests pass through here first. */
  guard(app: FastifyInstance): void {
    const { server } = app;
    const [next] = server.listeners("request") as [Shared["next"]];
    const shared = { ...this.#shared, next };
    server.on("connection", (socket: Socket) => {
      const connection = new Connection(socket, shared);
      this.#open.set(socket, connection);
      socket.once("close", () => {
        this.#open.delete(socket);
        connection.close();
      });
    });
    server.removeAllListeners("request");
    server.on("request", (request, response) => {
      const connection = this.#open.get(request.socket);
      // Requests that tests inject have no connection.
      if (connection) connection.arrive(request, response);
      else next(request, response);
    });
    const sweep = setInterval(() => {
      for (const connection of this.#open.values()) connection.count();
    }, SWEEP_MS).unref();
    app.addHook("onClose", (_app, done) => {
      clearInterval(sweep);
      done();
    });
  }
}

/** State that all connections of a server share. */
interface Shared {
  limits: Limits;
  uploads: MemoryBudget;
  unsent: MemoryBudget;
  metrics: HttpMetrics;
  reading: Reading;
  /** Spreads the beginnings of requests over turns of the event loop, because immediate answers take time, too. */
  beginnings: Turns;
  next(request: IncomingMessage, response: ServerResponse): void;
}

/** One connection. As a Holder, it holds the requests that have arrived and are not answered. */
class Connection implements Holder {
  readonly #socket: Socket;
  readonly #shared: Shared;
  #current: Exchange | undefined;
  #waiting: Exchange[] = [];
  /** The memory of its requests. Bytes. */
  #received = 0;
  /** How much had been read from it when its last request had arrived and was answered. Bytes. */
  #readBefore = 0;
  readonly #answers: Holder = {
    giveUp: () => {
      this.#cut("unsent");
      return true;
    },
  };

  constructor(socket: Socket, shared: Shared) {
    this.#socket = socket;
    this.#shared = shared;
  }

  /** Begins a request, or queues it until the previous one is answered. */
  arrive(request: IncomingMessage, response: ServerResponse): void {
    const { headers } = request;
    this.#shared.reading.onRequest(this.#socket);
    const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"]) > 0;
    const waits = this.#current !== undefined;
    const exchange = { request, response, bytes: hasBody || waits ? costOf(request) : 0 };
    // This replaces the count for its arriving headers.
    this.#count(exchange.bytes);
    if (hasBody) this.#receive(request);
    if (waits) this.#waiting.push(exchange);
    else this.#beginInTurn(exchange);
  }

  holdAnswer(bytes: number): void {
    this.#shared.unsent.hold(this.#answers, bytes);
  }

  streamAnswer(bytes: number): void {
    const exchange = this.#current;
    if (!exchange) return;
    exchange.isStreamed = true;
    exchange.request.upload?.release();
    this.#count(bytes - exchange.bytes);
    exchange.bytes = bytes;
  }

  /** Counts headers that are still arriving, and what a stream has not sent. */
  count(): void {
    const { isStreamed, response } = this.#current ?? {};
    if (isStreamed && response) this.holdAnswer(response.writableLength);
    // Neither while a request is in progress nor while the rest of an answered one arrives can the next one's headers arrive.
    if (this.#current || this.#received > 0) return;
    const read = this.#socket.bytesRead - this.#readBefore;
    this.#shared.uploads.hold(this, Math.min(read, this.#shared.limits.maxHeaderSize));
  }

  giveUp(): boolean {
    const { request, isStreamed } = this.#current ?? {};
    if (this.#waiting.length === 0 && request && !isStreamed) {
      if (!request.upload?.isArriving) return false;
      this.#shared.metrics.countShed("uploads");
      request.upload.refuse(overloaded());
      return true;
    }
    this.#cut("uploads");
    return true;
  }

  /** Releases everything, because the connection has ended. */
  close(): void {
    for (const { request } of this.#waiting) request.upload?.release();
    this.#waiting = [];
    this.#shared.uploads.hold(this, 0);
    this.#shared.unsent.hold(this.#answers, 0);
  }

  #cut(reason: "uploads" | "unsent"): void {
    this.#shared.metrics.countCut(reason);
    this.#socket.destroy();
  }

  #receive(request: IncomingMessage): void {
    let size = 0;
    const pieces = new PieceCount();
    // Pieces that are discarded count, too.
    request.on("data", (piece: Buffer) => {
      this.#shared.reading.onPiece(this.#socket);
      pieces.add(piece.length);
      if (!pieces.areTooSmall) return;
      request.upload?.refuse(PIECES_TOO_SMALL);
      // The client keeps sending although it is refused.
      if (pieces.areTooMany) this.#cut("uploads");
    });
    request.upload = new Upload(request, this.#shared.limits.bodyLimit, (bytes) => {
      this.#count(bytes - size);
      size = bytes;
    });
  }

  #count(bytes: number): void {
    this.#received += bytes;
    if (!this.#socket.destroyed) this.#shared.uploads.hold(this, this.#received);
  }

  #beginInTurn(exchange: Exchange): void {
    this.#current = exchange;
    this.#shared.beginnings.run(() => this.#socket.destroyed || this.#begin(exchange));
  }

  #begin(exchange: Exchange): void {
    exchange.response.once("close", () => this.#end(exchange));
    this.#shared.next(exchange.request, exchange.response);
  }

  #end({ request, bytes }: Exchange): void {
    request.upload?.release();
    this.#shared.unsent.hold(this.#answers, 0);
    const uncount = () => {
      this.#count(-bytes);
      this.#readBefore = this.#socket.bytesRead;
    };
    // A request that was answered early stays in memory until all of it has arrived.
    if (request.complete) uncount();
    else request.once("end", uncount);
    this.#current = undefined;
    const following = this.#waiting.shift();
    if (following) this.#beginInTurn(following);
  }
}

/** The memory of a request without its body. Bytes. */
function costOf({ rawHeaders }: IncomingMessage): number {
  let bytes = REQUEST_BYTES;
  for (const text of rawHeaders) bytes += text.length + TEXT_BYTES;
  return bytes;
}
