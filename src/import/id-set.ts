import { createHash } from "node:crypto";

/** Powers of two. The last is 64 MB at 8 bytes each, and half of the places are used. */
const FIRST_PLACES = 2 ** 16;
const MOST_PLACES = 2 ** 23;

/** Remembers up to four million ids in at most 64 MB. Two different ones are taken for the same once in 10^12 runs. */
export class IdSet {
  #places = new BigUint64Array(FIRST_PLACES);
  #size = 0;

  /** Whether no further id is remembered. */
  get isFull(): boolean {
    return this.#size === MOST_PLACES / 2;
  }

  /** Adds the id. False: it is there already. Once the set is full, no further id is remembered. */
  add(id: string): boolean {
    // Zero is a free place.
    const mark = createHash("sha256").update(id).digest().readBigUInt64LE() || 1n;
    const place = findPlace(this.#places, mark);
    if (this.#places[place] === mark) return false;
    if (this.isFull) return true;
    this.#places[place] = mark;
    this.#size += 1;
    if (this.#size * 2 >= this.#places.length && this.#places.length < MOST_PLACES) this.#grow();
    return true;
  }

  #grow(): void {
    const grown = new BigUint64Array(this.#places.length * 2);
    for (const mark of this.#places) if (mark !== 0n) grown[findPlace(grown, mark)] = mark;
    this.#places = grown;
  }
}

/** Where the mark is, or where it can be put. */
function findPlace(places: BigUint64Array, mark: bigint): number {
  let place = Number(mark & BigInt(places.length - 1));
  while (places[place] !== 0n && places[place] !== mark) place = (place + 1) % places.length;
  return place;
}
