import type { Socket } from "node:net";

/** The maximum number of pieces of bodies that are read in one turn of the event loop. Each takes about 2 µs. */
const MOST_PIECES = 8000;
/** A request takes as long as so many pieces. */
const PIECES_OF_A_REQUEST = 10;

/**
 * Limits how much a turn of the event loop reads from sockets. In one turn Node reads all sockets that something has
 * arrived on, and up to 2 MB of each: in the smallest chunks that is half a second of work for one socket. Beyond the
 * limit no socket is read until the next turn, which begins with those that were not read in this one. What Node has read
 * at once, 64 KiB, is finished, and it may resume a socket whose body is taken for two times as much.
 */
export class Reading {
  readonly #open: Iterable<Socket>;
  readonly #read = new Set<Socket>();
  /** The sockets that this has paused: Node pauses others if their clients don't read their answers. */
  readonly #paused = new Set<Socket>();
  #pieces = 0;

  /** `open` gives the sockets that are open at the time. */
  constructor(open: Iterable<Socket>) {
    this.#open = open;
  }

  onRequest(socket: Socket): void {
    this.#add(socket, PIECES_OF_A_REQUEST);
  }

  /** A piece of a body, also of one that nobody wants any more. */
  onPiece(socket: Socket): void {
    this.#add(socket, 1);
  }

  #add(socket: Socket, pieces: number): void {
    if (this.#pieces === 0) setImmediate(this.#endTurn);
    this.#pieces += pieces;
    this.#read.add(socket);
    if (this.#pieces > MOST_PIECES) this.#pause(socket);
  }

  #pause(socket: Socket): void {
    const isFirst = this.#paused.size === 0;
    // Again, if it is paused already: reading a body resumes its socket.
    this.#pauseOne(socket);
    if (isFirst) for (const each of this.#open) this.#pauseOne(each);
  }

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
