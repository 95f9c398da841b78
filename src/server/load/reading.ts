import type { Socket } from "node:net";
import { RequestRefusal } from "../../errors.ts";

/** The maximum number of pieces of bodies that are read in one turn of the event loop. Each takes about 2 µs. */
const MOST_PIECES = 8000;
/** A body may have so many pieces, however small they are. */
const PIECES_OF_ANY_SIZE = 5000;
/** The minimum average size of the pieces of a body that has more. Bytes. */
const SMALLEST_AVERAGE = 12;
/** A refused client that keeps sending is cut off at this point. Node reads 64 KiB at once, which are up to 10,923 pieces. */
const PIECES_UNTIL_CUT = 15_000;
/** A request takes as long as so many pieces. */
const PIECES_OF_A_REQUEST = 10;

export const PIECES_TOO_SMALL = new RequestRefusal(
  400,
  "request_malformed",
  `The body comes in more than ${PIECES_OF_ANY_SIZE} chunks of a few bytes each: send larger ones.`,
);

/** Counts the pieces of one body. Each piece costs the same time, so small ones cost most for their bytes. */
export class PieceCount {
  #pieces = 0;
  #bytes = 0;

  add(bytes: number): void {
    this.#pieces += 1;
    this.#bytes += bytes;
  }

  get areTooSmall(): boolean {
    return this.#pieces > PIECES_OF_ANY_SIZE && this.#bytes < this.#pieces * SMALLEST_AVERAGE;
  }

  get areTooMany(): boolean {
    return this.#pieces > PIECES_UNTIL_CUT;
  }
}

/**
 * Limits how much a turn of the event loop reads from sockets. In one turn Node reads all sockets that something has
 * arrived on, and up to 2 MB of each: in the smallest chunks that is half a second of work for one socket. Above the limit
 * no socket is read until the next turn, which begins with those that were not read in this one. The 64 KiB that Node has
 * read at once are finished, and while a body is consumed, Node may resume its socket for twice as much.
 */
export class Reading {
  readonly #open: Iterable<Socket>;
  readonly #read = new Set<Socket>();
  /** The sockets that this has paused: Node pauses others if their clients don't read their answers. */
  readonly #paused = new Set<Socket>();
  #pieces = 0;
  #pauses = false;

  /** `open` iterates over the sockets that are open at that time. */
  constructor(open: Iterable<Socket>) {
    this.#open = open;
  }

  onRequest(socket: Socket): void {
    this.#add(socket, PIECES_OF_A_REQUEST);
  }

  /** Counts a piece of a body, also if it is discarded. */
  onPiece(socket: Socket): void {
    this.#add(socket, 1);
  }

  #add(socket: Socket, pieces: number): void {
    if (this.#pieces === 0) setImmediate(this.#endTurn);
    this.#pieces += pieces;
    this.#read.add(socket);
    if (this.#pieces <= MOST_PIECES || this.#pauses) return;
    this.#pauses = true;
    // After this read's callbacks and ticks: consuming pieces of a body resumes its socket, so an earlier pause would be undone
    // and repeated with each piece, which takes longer than the pieces.
    queueMicrotask(this.#pause);
  }

  readonly #pause = (): void => {
    this.#pauses = false;
    // Other sockets are only resumed by the end of the turn.
    const sockets = this.#paused.size === 0 ? this.#open : this.#read;
    for (const each of sockets) this.#pauseOne(each);
  };

  #pauseOne(socket: Socket): void {
    if (!socket.isPaused()) this.#paused.add(socket);
    socket.pause();
  }

  readonly #endTurn = (): void => {
    for (const each of this.#paused) if (!this.#read.has(each)) each.resume();
    for (const each of this.#paused) if (this.#read.has(each)) each.resume();
    this.#paused.clear();
    this.#pieces = 0;
    this.#read.clear();
  };
}
