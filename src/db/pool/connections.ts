import type { PoolUsage } from "../client.ts";
import { type Connection, cutConnection, type openConnection, TRANSACTION_LOAD } from "./connection.ts";
import type { Hosts } from "./hosts.ts";

export type Open = (events: Parameters<typeof openConnection>[3]) => Connection;

interface Options {
  /** The maximum number of connections. There are fewer while the server accepts no more. */
  size: number;
  open: Open;
  hosts: Hosts;
  /**
   * How long a silent connection may finish its work before it is cut, and how long it counts as retired after that.
   * Milliseconds.
   */
  patience: number;
  /** How long a connection is used. Milliseconds; undefined: a random time from 30 to 60 minutes. */
  maxLifetime: number | undefined;
}

/** Interval of attempts to open missing connections and to replace old ones. */
const TRY_AGAIN_AFTER_MS = 5000;
/** Minimum age at which a connection is replaced because a server became read-only. */
const OLD_ENOUGH_MS = 1000;

/**
 * The connections of a pool. A connection that is silent, too old, or connected to the wrong server is replaced
 * immediately. It closes when it has finished its statements.
 */
export class Connections {
  readonly #options: Options;
  readonly #active: Connection[];
  /** They get no new statements. Each closes when it has finished its statements, or is cut if it stays silent. */
  readonly #retired = new Set<Connection>();
  /** Connections that are being tested before they are used. */
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

  usage(): Omit<PoolUsage, "refused"> {
    let inUse = 0;
    let pending = 0;
    for (const { load } of this.#active) {
      if (load === 0) continue;
      inUse += 1;
      pending += Math.floor(load / TRANSACTION_LOAD) + (load % TRANSACTION_LOAD);
    }
    const idle = this.#active.length - inUse;
    return { inUse, idle, retired: this.#retired.size, waiting: pending - inUse };
  }

  leastLoaded(): Connection {
    let least = this.#active[0] as Connection;
    for (const connection of this.#active) if (connection.load < least.load) least = connection;
    return least;
  }

  /** Records that a connection has completed a statement. */
  served(connection: Connection): void {
    if (connection.servedAt !== undefined) return;
    connection.servedAt = performance.now();
    const { maxLifetime = (0.5 + Math.random() / 2) * 3_600_000 } = this.#options;
    setTimeout(() => this.#replaceOld(connection), maxLifetime).unref();
  }

  /** Records that a connection has no unfinished statement. */
  idle(connection: Connection): void {
    if (this.#retired.has(connection)) void this.discard(connection);
  }

  /**
   * Replaces a connection that is silent or unusable, so that no new statement waits for it. Its server may still be
   * working on its statements, so at most as many connections can be retired as the pool has; above that, it stays.
   */
  retire(connection: Connection): void {
    if (this.#retired.size < this.#active.length && this.#replace(connection, this.#open))
      this.#see(connection);
  }

  /**
   * Replaces the connections after a server has become read-only, as after a failover, including those opened before
   * that was known. The new ones may lead to the server that took over.
   */
  renew(refused: Connection): void {
    this.#options.hosts.avoid(refused.host);
    const now = performance.now();
    for (const connection of [...this.#active]) {
      const age = now - (connection.servedAt ?? now);
      if (age > OLD_ENOUGH_MS || (connection === refused && connection.servedAt === undefined)) {
        this.retire(connection);
      }
    }
  }

  /**
   * Makes the pool smaller by this connection, because the server accepts no more connections. The pool grows again
   * later. Returns false, and keeps the connection, if it is the last.
   */
  drop(connection: Connection): boolean {
    const index = this.#active.indexOf(connection);
    if (index !== -1) {
      if (this.#active.length === 1) return false;
      this.#active.splice(index, 1);
      connection.wasRefused = true;
      void this.discard(connection);
    }
    this.#growing ??= setTimeout(() => this.#grow(), TRY_AGAIN_AFTER_MS).unref();
    return true;
  }

  /** Closes a connection and ends all its unfinished statements. */
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
      // A used connection is never reopened. The rest of an interrupted transaction would run among other statements on
      // the new socket, and the driver would first write its old buffer there, or write nothing at all.
      closed: (connection) => {
        if (connection.servedAt !== undefined || connection.load >= TRANSACTION_LOAD)
          void this.discard(connection);
      },
      refused: (connection) => void this.discard(connection),
      readOnly: (connection) => this.renew(connection),
    });

  /** Opens the new connection before it retires the old one, so no statement waits or fails if none can be opened now. */
  async #replaceOld(connection: Connection): Promise<void> {
    if (connection.isCut || !this.#active.includes(connection)) return;
    const fresh = await this.#tryNew();
    const isReplaced =
      fresh && this.#retired.size < this.#active.length && this.#replace(connection, () => fresh);
    if (isReplaced) this.#see(connection);
    else {
      if (fresh) void this.discard(fresh);
      this.#later(() => this.#replaceOld(connection), TRY_AGAIN_AFTER_MS);
    }
  }

  async #grow(): Promise<void> {
    this.#growing = undefined;
    while (this.#active.length < this.#options.size && !this.#isClosed) {
      const fresh = await this.#tryNew();
      if (!fresh) {
        this.#growing ??= setTimeout(() => this.#grow(), TRY_AGAIN_AFTER_MS).unref();
        return;
      }
      this.#active.push(fresh);
    }
  }

  /** Opens and tests a connection. Returns undefined if none can be opened now. */
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

  /** Retires a connection: closes it now if it is idle, otherwise when it is idle or stays silent for too long. */
  #see(connection: Connection): void {
    this.#retired.add(connection);
    if (connection.load === 0) void this.discard(connection);
    else this.#later(() => this.#cut(connection), this.#options.patience);
  }

  /**
   * Cuts a connection that stays silent. Otherwise its statements would wait until TCP gives up, which takes minutes. It
   * counts as retired for another `patience`, because the server may still be working on the cancelled statement.
   */
  async #cut(connection: Connection): Promise<void> {
    if (!this.#retired.has(connection)) return;
    const { patience } = this.#options;
    // Some of its statements still have time left.
    if ([...connection.runs].some(({ late }) => !late)) {
      this.#later(() => this.#cut(connection), patience);
      return;
    }
    await cutConnection(connection);
    this.#later(() => this.#leave(connection), patience);
  }

  /** Removes a retired connection. A silent one that could not be retired for lack of room is retired now. */
  #leave(connection: Connection): void {
    if (!this.#retired.delete(connection)) return;
    const silent = this.#active.find(({ runs }) => [...runs].some(({ late }) => late));
    if (silent) this.retire(silent);
  }

  #later(work: () => unknown, after: number): void {
    setTimeout(work, after).unref();
  }

  /** Returns false if the connection has been replaced already. */
  #replace(connection: Connection, next: () => Connection): boolean {
    const index = this.#active.indexOf(connection);
    if (index === -1) return false;
    this.#active[index] = next();
    return true;
  }
}
