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

/** Messages that the engine gets in one go. */
export interface Batch {
  messages: Buffer[];
  /** Whether the engine answers the last message with ReadyForQuery, unless an earlier error makes it skip it. */
  endsReady: boolean;
  /** Statements of this connection that nothing refers to once the batch is through: server names. */
  stale: string[];
  /** The client takes its leave: there are no messages, and nothing follows. */
  leaves: boolean;
}

export interface ClientEvents {
  /** There is a batch to run, or the client reads its answers again. */
  ready(connection: ClientConnection): void;
  /** The client is gone or has been sent away: nothing it sent before runs any more. */
  gone(connection: ClientConnection): void;
  /** The client did nothing for as long as `expectWithin` said. */
  idle(connection: ClientConnection): void;
}

const PROTOCOL_3 = 3;
const SSL_REQUEST = 80877103;
const GSSENC_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;

/** Bytes that wait for the engine before the client is no longer read, and the most that one batch gathers. */
const HIGH_WATER = 1024 * 1024;
/** How long a client that was sent away may take to read why. Milliseconds. */
const LINGER = 1000;
/**
 * COPY FROM STDIN makes the engine read on inside one call, and it exits where the call holds no data. This refusal
 * follows whatever might be such a statement; after any other the engine ignores it.
 */
const REFUSE_COPY = message("f", "the embedded database takes no data from STDIN");

/**
 * The client's end of the multiplexer: turns the bytes of one socket into batches whose statement names belong to
 * this connection alone, and writes answers back. Knows nothing of the engine or of other connections.
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
  /** Whether something was taken since the client was last told ReadyForQuery. */
  #answerDue = false;
  #gathered: Buffer[] = [];
  #gatheredSize = 0;

  /** Begins to read the socket. `parameters` are what the client is told of the server's settings. */
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
    // What went wrong with a socket is of no interest: `close` follows and says that it is gone.
    socket.on("error", () => {});
  }

  /** Whether there is a batch to run and the client takes the answers that it has already got. */
  get hasWork(): boolean {
    return this.#batches.length > 0 && !this.#socket.writableNeedDrain;
  }

  /** The next batch, which is then the caller's to run; undefined where none is complete. */
  take(): Batch | undefined {
    const batch = this.#batches.shift();
    if (batch) {
      this.#waiting -= sizeOf(batch.messages);
      this.#answerDue = true;
    }
    if (this.#waiting <= HIGH_WATER) this.#socket.resume();
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

  /** Reports `idle` once nothing came and nothing went for so many milliseconds; 0 stops that. */
  expectWithin(milliseconds: number): void {
    if (!this.gone) this.#socket.setTimeout(milliseconds);
  }

  /** Ends the connection with an error for the client to read. */
  dismiss(sqlstate: string, text: string): void {
    if (this.gone) return;
    this.#socket.write(fatalError(sqlstate, text));
    // postgres.js gives an error to the query that failed only when it is ready for the next one. It would give this
    // error to the first query of its next connection.
    if (this.#answerDue || this.#batches.length > 0) this.#socket.write(READY);
    this.leave();
  }

  /** Ends the connection. What the client sent and the engine has not begun is dropped. */
  leave(): void {
    if (this.gone) return;
    this.gone = true;
    this.#batches.length = 0;
    this.#gathered = [];
    this.#socket.pause();
    this.#socket.setTimeout(LINGER);
    this.#socket.destroySoon();
    this.#events.gone(this);
  }

  /** Timers come before what waits to be read: after a long pause of this process the client may have spoken. */
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
    // Read on while nothing is complete, however long it gets; and to notice that a waiting client goes away.
    if (this.#waiting > HIGH_WATER) this.#socket.pause();
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

  /** Adds the next message to the batch in the making. False where none is complete. */
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
        // What still comes after a COPY that was refused.
        break;
      case "H":
        // Every batch is answered at once, so there is nothing to flush but the messages that wait for a Sync.
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
    else if (this.#gatheredSize > HIGH_WATER) this.#complete({});
  }

  #complete({ endsReady = false, leaves = false }): void {
    const batch: Batch = { messages: leaves ? [] : this.#gathered, endsReady, leaves, stale: [] };
    // Before the engine is ready again it may be skipping messages after an error, a Close among them.
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
