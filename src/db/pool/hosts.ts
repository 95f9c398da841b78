import type { Host } from "./server-address.ts";

/** How long a host counts as unusable after a failed attempt. */
const UNFIT_FOR_MS = 1000;

/** The hosts of a pool, and the order in which new connections try them. */
export class Hosts {
  readonly #hosts: readonly [Host, ...Host[]];
  readonly #writableOnly: boolean;
  /** When each host was last found unusable. Milliseconds since the process started. */
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

  /** The indexes of all hosts in the order in which a connection tries them. */
  inOrder(): number[] {
    return this.#hosts.map((_, offset) => (this.#first + offset) % this.count);
  }

  /** Marks a host as unreachable or read-only. If there are others, new connections no longer try it first. */
  avoid(index: number): void {
    this.#unfitAt[index] = performance.now();
    if (index === this.#first) this.#first = (index + 1) % this.count;
  }

  /** Whether a new connection should leave this read-only host and try another that is not known to be unusable. */
  mayLeave(index: number): boolean {
    this.avoid(index);
    const longAgo = performance.now() - UNFIT_FOR_MS;
    // If all hosts are unusable, stay: a read-only server can still answer reads.
    return this.#writableOnly && this.#unfitAt.some((at) => at < longAgo);
  }
}
