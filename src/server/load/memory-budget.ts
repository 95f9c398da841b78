/** Something that holds memory for clients. */
export interface Holder {
  /** Releases its memory. Returns false if that is not possible because it is in use. */
  giveUp(): boolean;
}

/**
 * Limits the total bytes of all holders. If they exceed `limit` at the end of a turn of the event loop, the largest holders
 * must release their memory until the rest fits.
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

  /** Sets the bytes of this holder; zero removes it. */
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
