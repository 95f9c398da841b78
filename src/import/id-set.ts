import { createHash } from "node:crypto";

/** A power of two. At 8 bytes each, 64 MB. */
const PLACES = 2 ** 23;
const MOST = PLACES / 2;

/** Remembers up to four million ids in constant memory. Two different ones are taken for the same once in 10^12 runs. */
export class IdSet {
  readonly #places = new BigUint64Array(PLACES);
  #size = 0;

  /** Adds the id. False: it is there already. Once the set is full, no further id is remembered. */
  add(id: string): boolean {
    // Zero is a free place.
    const mark = createHash("sha256").update(id).digest().readBigUInt64LE() || 1n;
    let place = Number(mark & BigInt(PLACES - 1));
    for (; this.#places[place] !== 0n; place = (place + 1) % PLACES) {
      if (this.#places[place] === mark) return false;
    }
    if (this.#size < MOST) {
      this.#places[place] = mark;
      this.#size += 1;
    }
    return true;
  }
}
