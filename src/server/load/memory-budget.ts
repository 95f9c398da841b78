/** Something that keeps bytes of clients in memory. */
export interface Holder {
  /** Lets go of what it holds. False if that is not possible: it is being worked on. */
  giveUp(): boolean;
}

/**
 * The bytes that all holders have together. If they are more than `limit` at the end of a turn of the event loop, those
 * that hold most are made to give up, until the others fit.
 */
export class MemoryBudget {
  readonly #limit: number;
  readonly #held = new Map<Holder, number>();
  #total = 0;
  #isDue = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get total(): number {
    return this.#total;
  }

  /** From now on this holder has so many bytes: none is zero. */
  hold(holder: Holder, bytes: number): void {
    const before = this.#held.get(holder) ?? 0;
    if (bytes === before) return;
    this.#total += bytes - before;
    if (bytes === 0) this.#held.delete(holder);
    else this.#held.set(holder, bytes);
    if (this.#total <= this.#limit || this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => this.#enforce());
  }

  #enforce(): void {
    this.#isDue = false;
    if (this.#total <= this.#limit) return;
    for (const [holder] of [...this.#held].sort(([, a], [, b]) => b - a)) {
      if (this.#total <= this.#limit) return;
      if (holder.giveUp()) this.hold(holder, 0);
    }
  }
}
