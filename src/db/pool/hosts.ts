import type { Host } from "./server-address.ts";

/** The hosts of a pool, and which of them its next connections try first. */
export class Hosts {
  readonly #hosts: readonly [Host, ...Host[]];
  readonly #writableOnly: boolean;
  #first = 0;

  constructor(hosts: readonly [Host, ...Host[]], writableOnly: boolean) {
    this.#hosts = hosts;
    this.#writableOnly = writableOnly;
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

  /** Afterwards no new connection tries this host first, if there are others. */
  avoid(index: number): void {
    if (index === this.#first) this.#first = (index + 1) % this.count;
  }

  /** Whether a connection that has left so many hosts should leave another one, which takes no writes. */
  mayLeave(index: number, left: number): boolean {
    this.avoid(index);
    // Once all have been left, one of them has to do: it can still answer reads.
    return this.#writableOnly && left < this.count;
  }
}
