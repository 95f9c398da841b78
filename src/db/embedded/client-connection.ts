import type { Socket } from "node:net";
import { StatementNames } from "./statement-names.ts";
import {
  fatalError,
  MessageReader,
  message,
  ProtocolError,
  READY,
  renameStatement,
  sessionStart,
} from "./wire.ts";

/** Messages that the engine runs in one call. */
export interface Batch {
  messages: Buffer[];
  /** Whether the engine answers the last message with ReadyForQuery, unless it skips it because of an earlier error. */
  endsReady: boolean;
  /** Server names of this connection's statements that are unused after the batch. */
  stale: string[];
  /** The client closes the connection: there are no messages, and nothing follows. */
  leaves: boolean;
}

export interface ClientEvents {
  /** There is a batch to run, or the client reads its answers again. */
  ready(connection: ClientConnection): void;
  /** The connection has ended, by either side. Nothing that the client sent runs any more. */
  gone(connection: ClientConnection): void;
  /** The client was idle for the time that was given to `expectWithin`. */
  idle(connection: ClientConnection): void;
}

const PROTOCOL_3 = 3;
const SSL_REQUEST = 80877103;
const GSSENC_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;

/** If more bytes wait for the engine, the client's socket is not read. It also limits the size of one batch. */
const HIGH_WATER_BYTES = 1024 * 1024;
/** How long a client may take to read the error with which its connection ends. */
const LINGER_MS = 1000;
/**
 * COPY FROM STDIN makes the engine read more input within one call, and the engine exits if there is none. This CopyFail
 * message follows every statement that could be one; after other statements the engine ignores it.
 */
const REFUSE_COPY = message("f", "the embedded database takes no data from STDIN");

/**
 * One client connection of the multiplexer. It turns the bytes of its socket into batches, makes statement names unique to
 * this connection, and writes answers back. It does not use the engine or other connections.
 */
export class ClientConnection {
  readonly names: StatementNames;
  gone = false;

  readonly #id: number;
  readonly #socket: Socket;
  readonly #events: ClientEvents;
  readonly #parameters: Record<string, string>;
  readonly #reader = new MessageReader();
  readonly #batches: Batch[] = [];
  #waiting = 0;
  #started = false;
  /** Whether a batch was taken since the client last got ReadyForQuery. */
  #answerDue = false;
  #gathered: Buffer[] = [];
  #gatheredSize = 0;

  /** Begins to read the socket. `parameters` are the server's settings, which the client gets. */
  constructor(id: number, socket: Socket, parameters: Record<string, string>, events: ClientEvents) {
    this.#id = id;
    this.names = new StatementNames(id);
    this.#socket = socket;
    this.#parameters = parameters;
    this.#events = events;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("drain", () => this.#events.ready(this));
    socket.on("timeout", () => (this.gone ? socket.destroy() : this.#suspectIdle()));
    socket.on("end", () => this.leave());
    socket.on("close", () => this.leave());
    // Errors of the socket need no handling, because `close` follows.
    socket.on("error", () => {});
  }

  /** Whether there is a batch to run and the client reads its earlier answers. */
  get hasWork(): boolean {
    return this.#batches.length > 0 && !this.#socket.writableNeedDrain;
  }

  /** Returns the next batch for the caller to run; undefined if none is complete. */
  take(): Batch | undefined {
    const batch = this.#batches.shift();
    if (batch) {
      this.#waiting -= sizeOf(batch.messages);
      this.#answerDue = true;
    }
    if (this.#waiting <= HIGH_WATER_BYTES) this.#socket.resume();
    return batch;
  }

  /** Writes an answer to what was taken; `ready` says that it ends with ReadyForQuery. */
  send(answer: Buffer[], ready: boolean): void {
    if (this.gone) return;
    if (ready) this.#answerDue = false;
    this.#socket.cork();
    for (const chunk of answer) this.#socket.write(chunk);
    this.#socket.uncork();
  }

  /** Reports `idle` if nothing is received or sent for this many milliseconds; 0 turns this off. */
  expectWithin(milliseconds: number): void {
    if (!this.gone) this.#socket.setTimeout(milliseconds);
  }

  /** Ends the connection with an error for the client to read. */
  dismiss(sqlstate: string, text: string): void {
    if (this.gone) return;
    this.#socket.write(fatalError(sqlstate, text));
    // postgres.js reports an error to its query only at ReadyForQuery. Without it, this error would go to the first query
    // of its next connection.
    if (this.#answerDue || this.#batches.length > 0) this.#socket.write(READY);
    this.leave();
  }

  /** Ends the connection. Messages that the engine has not begun are dropped. */
  leave(): void {
    if (this.gone) return;
    this.gone = true;
    this.#batches.length = 0;
    this.#gathered = [];
    this.#socket.pause();
    this.#socket.setTimeout(LINGER_MS);
    this.#socket.destroySoon();
    this.#events.gone(this);
  }

  /** After a long pause of this process, timers run before sockets are read, so the client may have sent something. */
  #suspectIdle(): void {
    const before = this.#socket.bytesRead;
    setImmediate(() => {
      if (!this.gone && this.#socket.bytesRead === before) this.#events.idle(this);
    });
  }

  #receive(chunk: Buffer): void {
    if (this.gone) return;
    this.#reader.push(chunk);
    try {
      while (!this.#started && this.#startUp()) {}
      while (this.#started && this.#gatherNext()) {}
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.dismiss("08P01", error.message);
      return;
    }
    // Keep reading while no batch is complete, whatever its length, and to notice that a waiting client closes.
    if (this.#waiting > HIGH_WATER_BYTES) this.#socket.pause();
    if (this.hasWork) this.#events.ready(this);
  }

  #startUp(): boolean {
    const packet = this.#reader.nextStartup();
    if (!packet || this.gone) return false;
    const code = packet.readInt32BE(4);
    if (code === CANCEL_REQUEST) {
      this.leave();
    } else if (code === SSL_REQUEST || code === GSSENC_REQUEST) {
      this.#socket.write("N");
    } else if (code >> 16 === PROTOCOL_3) {
      this.#started = true;
      // A client that asks for a later minor version learns that this is 3.0.
      if ((code & 0xffff) > 0) this.#socket.write(message("v", Buffer.alloc(8)));
      this.#socket.write(sessionStart(this.#id, this.#parameters));
    } else {
      throw new ProtocolError("unsupported frontend protocol");
    }
    return true;
  }

  /** Adds the next message to the unfinished batch. Returns false if none is complete. */
  #gatherNext(): boolean {
    const source = this.#reader.next();
    if (!source || this.gone) return false;
    const type = String.fromCharCode(source.readUInt8(0));
    switch (type) {
      case "X":
        this.#complete({ leaves: true });
        break;
      case "d":
      case "c":
      case "f":
        // Data that still arrives after a refused COPY.
        break;
      case "H":
        // Every batch is answered completely, so only messages that wait for a Sync need a flush.
        if (this.#gathered.length > 0) this.#complete({});
        break;
      default:
        this.#gather(
          type,
          renameStatement(source, (name) => this.names.serverName(name, type === "P")),
        );
    }
    return true;
  }

  #gather(type: string, source: Buffer): void {
    this.#gathered.push(source);
    if (type === "E" || type === "Q") this.#gathered.push(REFUSE_COPY);
    this.#gatheredSize += source.length;
    if (type === "Q" || type === "S" || type === "F") this.#complete({ endsReady: true });
    else if (this.#gatheredSize > HIGH_WATER_BYTES) this.#complete({});
  }

  #complete({ endsReady = false, leaves = false }): void {
    const batch: Batch = { messages: leaves ? [] : this.#gathered, endsReady, leaves, stale: [] };
    // After an error the engine skips messages, including Close, until it is ready again.
    if (endsReady) {
      batch.stale = this.names.takeStale();
    }
    this.#batches.push(batch);
    this.#waiting += sizeOf(batch.messages);
    this.#gathered = [];
    this.#gatheredSize = 0;
  }
}

function sizeOf(messages: Buffer[]): number {
  return messages.reduce((sum, source) => sum + source.length, 0);
}
