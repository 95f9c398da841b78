import { type Connection, cutConnection, type openConnection, TRANSACTION_LOAD } from "./connection.ts";
import type { Hosts } from "./hosts.ts";

type Open = (events: Parameters<typeof openConnection>[3]) => Connection;

interface Options {
  /** Connections at most; there are fewer while the server lets no more in. */
  size: number;
  open: Open;
  hosts: Hosts;
  /** How long what is silent is waited for, and then again until its place is given to others. Milliseconds. */
  patience: number;
  /** How long a connection is used. Milliseconds; undefined: 30 to 60 minutes. */
  maxLifetime: number | undefined;
}

/** How often it is tried to have as many connections again as there may be, and to replace an old one. Milliseconds. */
const TRY_AGAIN_AFTER = 5000;
/** A pool whose server takes no writes is replaced this often at most. Milliseconds. */
const RENEW_AT_MOST_EVERY = 1000;

/**
 * The connections of a pool. One that is silent, too old or led to the wrong server makes room for another one at
 * once, and ends when it has finished what it had begun.
 */
export class Connections {
  readonly #options: Options;
  readonly #active: Connection[];
  /** Those that take nothing more: each ends when it has nothing under way, or is cut when it stays silent. */
  readonly #retired = new Set<Connection>();
  /** Those that are being tried before they are used. */
  readonly #tried = new Set<Connection>();
  #growing: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: Options) {
    this.#options = options;
    this.#active = Array.from({ length: options.size }, () => this.#open());
  }

  get active(): readonly Connection[] {
    return this.#active;
  }

  get retired(): number {
    return this.#retired.size;
  }

  leastLoaded(): Connection {
    let least = this.#active[0] as Connection;
    for (const connection of this.#active) if (connection.load < least.load) least = connection;
    return least;
  }

  /** A connection did what it was asked. */
  served(connection: Connection): void {
    if (connection.servedAt !== undefined) return;
    connection.servedAt = performance.now();
    const { maxLifetime = (0.5 + Math.random() / 2) * 3_600_000 } = this.#options;
    setTimeout(() => this.#replaceOld(connection), maxLifetime).unref();
  }

  /** A connection has nothing more under way. */
  idle(connection: Connection): void {
    if (this.#retired.has(connection)) void this.discard(connection);
  }

  /**
   * Nothing more waits for this connection, which is silent or of no use. Its server may still be at work on what it
   * has begun: as many as the pool has can be so, and no more.
   */
  retire(connection: Connection): void {
    if (this.#retired.size < this.#active.length && this.#replace(connection, this.#open))
      this.#see(connection);
  }

  /**
   * A server takes no writes, as after a failover: its connections, and those that were made before it was known, are
   * replaced. The next ones may lead to the server that took over.
   */
  renew(refused: Connection): void {
    this.#options.hosts.avoid(refused.host);
    const now = performance.now();
    for (const connection of [...this.#active]) {
      const age = now - (connection.servedAt ?? now);
      if (age > RENEW_AT_MOST_EVERY || (connection === refused && connection.servedAt === undefined)) {
        this.retire(connection);
      }
    }
  }

  /**
   * The server lets no more connections in than there are: afterwards the pool has one less, for a while. False if
   * that was the last.
   */
  drop(connection: Connection): boolean {
    const index = this.#active.indexOf(connection);
    if (index !== -1) {
      if (this.#active.length === 1) return false;
      this.#active.splice(index, 1);
      connection.wasRefused = true;
      void this.discard(connection);
    }
    this.#growing ??= setTimeout(() => this.#grow(), TRY_AGAIN_AFTER).unref();
    return true;
  }

  /** Ends a connection and all that is under way on it. */
  async discard(connection: Connection): Promise<void> {
    if (connection.isCut || this.#isClosed) return;
    connection.isCut = true;
    this.#replace(connection, this.#open);
    this.#leave(connection);
    await connection.client.end({ timeout: 0 });
  }

  async close(timeoutSeconds: number): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#growing);
    const all = [...this.#active, ...this.#retired, ...this.#tried];
    await Promise.all(all.map(({ client }) => client.end({ timeout: timeoutSeconds })));
  }

  readonly #open = (): Connection =>
    this.#options.open({
      // What its transaction still sends must meet no one else's statements on a connection made anew. And the driver
      // keeps what it was about to write: on its next socket it would write that first, or nothing any more.
      closed: (connection) => {
        if (connection.servedAt !== undefined || connection.load >= TRANSACTION_LOAD)
          void this.discard(connection);
      },
      refused: (connection) => void this.discard(connection),
      readOnly: (connection) => this.renew(connection),
    });

  /** The new one is there before the old one goes: nobody waits, and nothing fails where there is no new one now. */
  async #replaceOld(connection: Connection): Promise<void> {
    if (connection.isCut || !this.#active.includes(connection)) return;
    const fresh = await this.#tryNew();
    const isReplaced =
      fresh && this.#retired.size < this.#active.length && this.#replace(connection, () => fresh);
    if (isReplaced) this.#see(connection);
    else {
      if (fresh) void this.discard(fresh);
      this.#later(() => this.#replaceOld(connection), TRY_AGAIN_AFTER);
    }
  }

  async #grow(): Promise<void> {
    this.#growing = undefined;
    while (this.#active.length < this.#options.size && !this.#isClosed) {
      const fresh = await this.#tryNew();
      if (!fresh) {
        this.#growing ??= setTimeout(() => this.#grow(), TRY_AGAIN_AFTER).unref();
        return;
      }
      this.#active.push(fresh);
    }
  }

  /** A connection that has answered; undefined if there is none now. */
  async #tryNew(): Promise<Connection | undefined> {
    const fresh = this.#open();
    this.#tried.add(fresh);
    const late = setTimeout(() => this.discard(fresh), this.#options.patience);
    try {
      await fresh.client.unsafe("select 1");
      if (this.#isClosed) return undefined;
      this.served(fresh);
      return fresh;
    } catch {
      void this.discard(fresh);
      return undefined;
    } finally {
      clearTimeout(late);
      this.#tried.delete(fresh);
    }
  }

  /** Sees a connection that takes nothing more to its end. */
  #see(connection: Connection): void {
    this.#retired.add(connection);
    if (connection.load === 0) void this.discard(connection);
    else this.#later(() => this.#cut(connection), this.#options.patience);
  }

  /**
   * Ends what stays silent: it may do so for as long as TCP has patience, and so would all that waits for it. It keeps
   * its place until the server has given up as well, of which it is told.
   */
  async #cut(connection: Connection): Promise<void> {
    if (!this.#retired.has(connection)) return;
    const { patience } = this.#options;
    // Others have more time, or all there is.
    if ([...connection.runs].some(({ late }) => !late)) {
      this.#later(() => this.#cut(connection), patience);
      return;
    }
    await cutConnection(connection);
    this.#later(() => this.#leave(connection), patience);
  }

  /** Gives the place among the retired to one that is silent and found none. */
  #leave(connection: Connection): void {
    if (!this.#retired.delete(connection)) return;
    const silent = this.#active.find(({ runs }) => [...runs].some(({ late }) => late));
    if (silent) this.retire(silent);
  }

  #later(work: () => unknown, after: number): void {
    setTimeout(work, after).unref();
  }

  /** False if something else has its place already. */
  #replace(connection: Connection, next: () => Connection): boolean {
    const index = this.#active.indexOf(connection);
    if (index === -1) return false;
    this.#active[index] = next();
    return true;
  }
}
