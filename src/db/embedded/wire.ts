/** PostgreSQL's wire protocol, version 3: splits a byte stream into messages, and builds the few that we send. */

/** The client violates the protocol. Its connection must be closed. */
export class ProtocolError extends Error {}

const LARGEST_MESSAGE_BYTES = 64 * 1024 * 1024;
const LARGEST_STARTUP_BYTES = 10_000;
/** All message types that a client may send after its startup. The engine hangs on an unknown type. */
const CLIENT_TYPES = new Set(Buffer.from("BCDEFHPQSXcdf"));

/** Splits a byte stream into messages, regardless of its chunks. Copies each byte at most twice. */
export class MessageReader {
  #chunks: Buffer[] = [];
  #size = 0;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /** The next startup message, which has no type; undefined until it is complete. */
  nextStartup(): Buffer | undefined {
    const length = this.#peek(4)?.readInt32BE(0);
    if (length === undefined) return undefined;
    if (length < 8 || length > LARGEST_STARTUP_BYTES)
      throw new ProtocolError("invalid length of startup packet");
    return this.#take(length);
  }

  /** The next message: type, length, body; undefined until it is complete. Fails if it can't be a message. */
  next(): Buffer | undefined {
    const head = this.#peek(5);
    if (!head) return undefined;
    const type = head.readUInt8(0);
    if (!CLIENT_TYPES.has(type)) throw new ProtocolError(`invalid frontend message type ${type}`);
    const length = head.readInt32BE(1);
    if (length < 4 || length > LARGEST_MESSAGE_BYTES) throw new ProtocolError("invalid message length");
    return this.#take(1 + length);
  }

  #peek(length: number): Buffer | undefined {
    if (this.#size < length) return undefined;
    const [first] = this.#chunks;
    if (first && first.length >= length) return first;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }

  #take(length: number): Buffer | undefined {
    const first = this.#peek(length);
    if (!first) return undefined;
    if (first.length === length) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(length);
    this.#size -= length;
    return first.subarray(0, length);
  }
}

/** Builds a message from its type and the parts of its body. */
export function message(type: string, ...body: (Buffer | string)[]): Buffer {
  const parts = body.map((part) => (typeof part === "string" ? Buffer.from(`${part}\0`) : part));
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeInt32BE(4 + parts.reduce((sum, part) => sum + part.length, 0), 1);
  return Buffer.concat([head, ...parts]);
}

/** ReadyForQuery, outside a transaction. */
export const READY = message("Z", Buffer.from("I"));

/** A simple query. */
export function query(sql: string): Buffer {
  return message("Q", sql);
}

/** An error after which the server closes the connection. */
export function fatalError(sqlstate: string, text: string): Buffer {
  return message("E", "SFATAL", "VFATAL", `C${sqlstate}`, `M${text}`, Buffer.alloc(1));
}

/** The server's messages after a successful startup: authenticated, settings, backend key, ready. */
export function sessionStart(backendId: number, parameters: Record<string, string>): Buffer {
  const key = Buffer.alloc(8);
  key.writeInt32BE(backendId, 0);
  return Buffer.concat([
    message("R", Buffer.alloc(4)),
    ...Object.entries(parameters).map(([name, value]) => message("S", name, value)),
    message("K", key),
    READY,
  ]);
}

/** Replaces the name of the prepared statement in Parse, Bind, Describe and Close. Other messages stay as they are. */
export function renameStatement(source: Buffer, rename: (name: string) => string): Buffer {
  const start = nameOffset(source);
  if (start === undefined) return source;
  const end = endOfString(source, start);
  const name = rename(source.toString("utf8", start, end));
  const type = String.fromCharCode(source.readUInt8(0));
  return message(type, source.subarray(5, start), name, source.subarray(end + 1));
}

/** The transaction status in the ReadyForQuery that ends an answer; undefined if the answer ends otherwise. */
export function readyStatus(answer: Buffer[]): "I" | "T" | "E" | undefined {
  const tail = Buffer.concat(answer.slice(-2).map((chunk) => chunk.subarray(-6))).subarray(-6);
  if (tail.length < 6 || tail.readUInt8(0) !== 0x5a || tail.readInt32BE(1) !== 5) return undefined;
  return String.fromCharCode(tail.readUInt8(5)) as "I" | "T" | "E";
}

function nameOffset(source: Buffer): number | undefined {
  switch (String.fromCharCode(source.readUInt8(0))) {
    case "P":
      return 5;
    case "B":
      return endOfString(source, 5) + 1;
    case "C":
    case "D":
      return source[5] === 0x53 ? 6 : undefined;
    default:
      return undefined;
  }
}

function endOfString(source: Buffer, start: number): number {
  const end = source.indexOf(0, start);
  if (end === -1) throw new ProtocolError("invalid string in message");
  return end;
}
