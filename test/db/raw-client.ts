import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { message } from "../../src/db/embedded/wire.ts";

/** One message of the server: its type and, readable, its body. */
export interface Reply {
  type: string;
  text: string;
}

const NO_COUNTS = Buffer.alloc(2);

export const parse = (name: string, sql: string) => message("P", name, sql, NO_COUNTS);
/** Binds the unnamed portal to a statement, with all parameters as text. */
export const bind = (name: string, ...values: string[]) => {
  const parts = values.flatMap((value) => [int32(Buffer.byteLength(value)), Buffer.from(value)]);
  return message("B", "", name, NO_COUNTS, int16(values.length), ...parts, NO_COUNTS);
};
export const execute = () => message("E", "", int32(0));
export const sync = () => message("S");
export const flush = () => message("H");
export const startup = () => {
  const body = Buffer.concat([int32(3 << 16), Buffer.from("user\0postgres\0\0")]);
  return Buffer.concat([int32(body.length + 4), body]);
};

/** A client that sends the given bytes unchanged, and keeps the answers. */
export class RawClient {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  #bytes = Buffer.alloc(0);
  readonly #replies: Reply[] = [];
  #wake = () => {};

  constructor(path: string) {
    this.socket = connect(path);
    this.socket.on("data", (chunk) => this.#receive(chunk as Buffer));
    this.socket.on("error", () => {});
    this.closed = once(this.socket, "close").then(() => this.#wake());
  }

  /** A client that is past its startup. */
  static async open(path: string): Promise<RawClient> {
    const client = new RawClient(path);
    client.socket.write(startup());
    await client.untilReady();
    return client;
  }

  /** Sends messages and returns the replies up to ReadyForQuery, or up to the end of the connection. */
  async ask(...messages: Buffer[]): Promise<Reply[]> {
    this.send(...messages);
    return this.untilReady();
  }

  send(...messages: Buffer[]): void {
    this.socket.write(Buffer.concat(messages));
  }

  untilReady(): Promise<Reply[]> {
    return this.until("Z");
  }

  /** The replies up to the first of a type, or up to the end of the connection. */
  async until(type: string): Promise<Reply[]> {
    for (;;) {
      const end = this.#replies.findIndex((reply) => reply.type === type);
      if (end !== -1) return this.#replies.splice(0, end + 1);
      if (this.socket.destroyed) return this.#replies.splice(0);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #receive(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    while (this.#bytes.length >= 5 && this.#bytes.length > this.#bytes.readInt32BE(1)) {
      const end = 1 + this.#bytes.readInt32BE(1);
      const type = this.#bytes.toString("latin1", 0, 1);
      this.#replies.push({ type, text: this.#bytes.toString("utf8", 5, end) });
      this.#bytes = this.#bytes.subarray(end);
    }
    this.#wake();
  }
}

/** The types of replies, in order: `"T D C Z"`. */
export function types(replies: Reply[]): string {
  return replies.map((reply) => reply.type).join(" ");
}

/** The first value of each row, as text. */
export function values(replies: Reply[]): string[] {
  return replies.filter(({ type }) => type === "D").map(({ text }) => text.slice(6));
}

/** The SQLSTATE of the error among replies, or undefined. */
export function sqlstate(replies: Reply[]): string | undefined {
  const error = replies.find(({ type }) => type === "E");
  return /\0C(\w{5})\0/.exec(error?.text ?? "")?.[1];
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
