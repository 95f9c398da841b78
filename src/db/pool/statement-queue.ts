import { overloaded } from "../../errors.ts";

/** The places of the statements and transactions that may be under way or wait at once. */
export class StatementQueue {
  readonly #places: number;
  /** How long a statement that others keep from being sent may wait. Milliseconds. */
  readonly patience: number;
  #taken = 0;
  /** How often there was no place so far. */
  refused = 0;

  constructor(places = Number.POSITIVE_INFINITY, patience = 5000) {
    this.#places = places;
    this.patience = patience;
  }

  /** Takes a place, to be given back by `leave`. Fails with UNAVAILABLE where there is none, unless it is urgent. */
  enter(urgent = false): void {
    if (this.#taken >= this.#places && !urgent) {
      this.refused += 1;
      throw overloaded();
    }
    this.#taken += 1;
  }

  leave(): void {
    this.#taken -= 1;
  }
}
