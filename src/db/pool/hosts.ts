import type { Host } from "./server-address.ts";

/** How long a host that could not be used counts as one that can't be. Milliseconds. */
const UNFIT_FOR = 1000;

/** The hosts of a pool, and which of them its next connections try first. */
export class Hosts {
  readonly #hosts: readonly [Host, ...Host[]];
  readonly #writableOnly: boolean;
  /** When each was found to be of no use. Milliseconds. */
  readonly #unfitAt: number[];
  #first = 0;

  constructor(hosts: readonly [Host, ...Host[]], writableOnly: boolean) {
    this.#hosts = hosts;
    this.#writableOnly = writableOnly;
    this.#unfitAt = hosts.map(() => Number.NEGATIVE_INFINITY);
  }

  get count(): number {
    return this.#hosts.length;
  }

  at(index: number): Host {
    return this.#hosts[index % this.count] as Host;
  }

  /** The numbers of all hosts, in the order in which a connection tries them. */
  inTurn(): number[] {
    return this.#hosts.map((_, offset) => (this.#first + offset) % this.count);
  }

  /** A host can't be reached, or takes no writes: afterwards no new connection tries it first, if there are others. */
  avoid(index: number): void {
    this.#unfitAt[index] = performance.now();
    if (index === this.#first) this.#first = (index + 1) % this.count;
  }

  /** Whether a new connection should leave this host, which takes no writes, for one that is not known to be unfit. */
  mayLeave(index: number): boolean {
    this.avoid(index);
    const longAgo = performance.now() - UNFIT_FOR;
    // Once all are, one of them has to do: it can still answer reads.
    return this.#writableOnly && this.#unfitAt.some((at) => at < longAgo);
  }
}
