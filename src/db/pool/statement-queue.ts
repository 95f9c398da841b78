import { overloaded } from "../../errors.ts";

/** Limits how many statements and transactions may run or wait at once. */
export class StatementQueue {
  readonly #limit: number;
  /** How long a statement may wait before it is sent. Milliseconds. */
  readonly patience: number;
  #taken = 0;
  /** How often a statement was refused because the queue was full. */
  refused = 0;

  constructor(limit = Number.POSITIVE_INFINITY, patience = 5000) {
    this.#limit = limit;
    this.patience = patience;
  }

  /** Occupies a slot of the queue until `leave`. Fails with UNAVAILABLE if the queue is full, unless it is urgent. */
  enter(urgent = false): void {
    if (this.#taken >= this.#limit && !urgent) {
      this.refused += 1;
      throw overloaded();
    }
    this.#taken += 1;
  }

  leave(): void {
    this.#taken -= 1;
  }
}
