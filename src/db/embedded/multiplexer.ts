import type { Socket } from "node:net";
import { setImmediate as nextRound, setTimeout as wait } from "node:timers/promises";
import { ClientConnection } from "./client-connection.ts";
import { dropStatements } from "./statement-names.ts";
import { message, query, readyStatus } from "./wire.ts";

/** A PostgreSQL backend without a server. It has one session and runs one call at a time. */
export interface Engine {
  /** The settings that clients get when they connect. */
  readonly parameters: Record<string, string>;
  /** Runs messages and returns the answer to all of them. Rejects if the engine has crashed; it can't be used then. */
  run(messages: Buffer): Promise<Buffer[]>;
  /** Shuts the engine down normally. */
  close(): Promise<void>;
  /** Ends the engine immediately; a running call rejects. Afterwards another engine can open its files. */
  abandon(): Promise<void>;
}

export interface MultiplexerOptions {
  /** How long a connection may be idle while it holds the engine. Milliseconds. */
  idleTransactionMs: number;
  /** How long one batch may run. After that, the engine is ended and reopened without the batch's effects. Milliseconds. */
  longestCallMs: number;
  onWarning(message: string): void;
}

/** Minimum interval between two attempts to reopen the engine, because opening is slow. */
const REOPEN_AT_MOST_EVERY_MS = 1000;

const SYNC = message("S");
const SHUTTING_DOWN = ["57P01", "the embedded database is shutting down"] as const;

/** Removes settings, roles and cursors of the previous connection. */
const RESET_SESSION = query("set session authorization default; reset all; close all");

/**
 * Ends any transaction, implicit or explicit, without committing it. Sync alone would commit an unfinished batch. After
 * an error inside a batch, everything up to Sync is skipped, and the second ROLLBACK takes effect.
 */
const ROLL_BACK = Buffer.concat([query("rollback"), SYNC, query("rollback")]);

/**
 * Shares one engine between connections. A connection holds the engine from the first message of a batch until the
 * engine is outside a transaction again; the others wait in order of arrival. A connection that closes or is idle in
 * that time is rolled back. Session settings last until another connection has its turn; prepared statements belong to
 * their connection. If the engine crashes, all connections end and it is reopened. If reopening fails, it is tried again
 * at the next request.
 */
export class Multiplexer {
  readonly #connections = new Set<ClientConnection>();
  /** In order: connections that have messages to run, and closed ones that must be cleaned up. */
  readonly #queue = new Set<ClientConnection>();
  readonly #reopen: () => Promise<Engine>;
  readonly #options: MultiplexerOptions;
  /** Undefined after a crash until it is reopened. */
  #engine: Engine | undefined;
  /** The last attempt to reopen it. It never rejects. */
  #opening: Promise<void> | undefined;
  /** When that ended. Milliseconds since the process started. */
  #reopenedAt = Number.NEGATIVE_INFINITY;
  #parameters: Record<string, string>;
  #holder: ClientConnection | undefined;
  #lastHolder: ClientConnection | undefined;
  #working = false;
  #closing = false;
  #accepted = 0;

  /** `reopen` is called after the engine has crashed. */
  constructor(engine: Engine, reopen: () => Promise<Engine>, options: MultiplexerOptions) {
    this.#engine = engine;
    this.#parameters = engine.parameters;
    this.#reopen = reopen;
    this.#options = options;
  }

  /** Serves the client behind a socket until either side ends the connection. */
  accept(socket: Socket): void {
    this.#accepted += 1;
    const connection = new ClientConnection(this.#accepted, socket, this.#parameters, {
      ready: (it) => this.#enqueue(it),
      gone: (it) => this.#depart(it),
      idle: (it) => this.#evict(it),
    });
    this.#connections.add(connection);
    if (this.#closing) connection.dismiss(...SHUTTING_DOWN);
  }

  /**
   * Ends every connection and closes the engine. Connections with a running batch or transaction get up to `graceMs`
   * milliseconds to finish it. If the engine is still busy after as long again, it is ended immediately.
   */
  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    const deadline = performance.now() + graceMs;
    for (const connection of this.#connections) this.#dismissIfIdle(connection);
    while (this.#isBusy() && performance.now() < deadline) await wait(5);
    for (const connection of this.#connections) connection.dismiss(...SHUTTING_DOWN);
    while (this.#isBusy() && performance.now() < deadline + graceMs) await wait(5);
    // An engine that is still opening would go on with the files after another process has them.
    await this.#opening;
    if (this.#isBusy()) await this.#engine?.abandon();
    else await this.#engine?.close();
  }

  #isBusy(): boolean {
    return this.#working || this.#holder !== undefined || this.#queue.size > 0;
  }

  #dismissIfIdle(connection: ClientConnection): void {
    if (connection === this.#holder || this.#queue.has(connection) || connection.hasWork) return;
    connection.dismiss(...SHUTTING_DOWN);
  }

  #enqueue(connection: ClientConnection): void {
    if (connection !== this.#holder && (connection.gone || connection.hasWork)) this.#queue.add(connection);
    void this.#work();
  }

  #depart(connection: ClientConnection): void {
    if (this.#connections.delete(connection)) this.#enqueue(connection);
  }

  #evict(connection: ClientConnection): void {
    if (connection !== this.#holder) return;
    const { idleTransactionMs, onWarning } = this.#options;
    onWarning(
      `A database connection was ended and rolled back: idle in a transaction for ${idleTransactionMs} ms`,
    );
    connection.dismiss("25P03", "terminating connection due to idle-in-transaction timeout");
  }

  /** Serves the connections one after another until none has anything to run. Nothing else runs the engine. */
  async #work(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    for (let connection = this.#next(); connection; connection = this.#next()) {
      this.#queue.delete(connection);
      try {
        if (!this.#engine && !connection.gone) await this.#openAgain();
        if (this.#engine) await this.#serve(connection, this.#engine);
        else connection.dismiss("57P03", "the embedded database has failed");
      } catch (crash) {
        await this.#restart(crash);
      }
      // Let sockets report new messages and closed connections first.
      await nextRound();
    }
    this.#working = false;
  }

  #next(): ClientConnection | undefined {
    const holder = this.#holder;
    if (holder) return holder.gone || holder.hasWork ? holder : undefined;
    const [first] = this.#queue;
    return first;
  }

  async #serve(connection: ClientConnection, engine: Engine): Promise<void> {
    if (connection.gone) return this.#clearUp(connection, engine);
    const batch = connection.take();
    if (!batch) return;
    if (batch.leaves) return connection.leave();

    if (connection !== this.#lastHolder) await engine.run(RESET_SESSION);
    this.#holder = connection;
    this.#lastHolder = connection;
    connection.expectWithin(0);
    const answer = await this.#runInTime(Buffer.concat(batch.messages), engine);
    const status = batch.endsReady ? readyStatus(answer) : undefined;
    connection.send(answer, status !== undefined);
    if (status) await this.#closeStatements(batch.stale, engine);
    if (status === "I") this.#release(connection);
    else connection.expectWithin(this.#options.idleTransactionMs);
  }

  async #runInTime(messages: Buffer, engine: Engine): Promise<Buffer[]> {
    const { longestCallMs, onWarning } = this.#options;
    const timer = setTimeout(() => {
      onWarning(`The embedded database was busy with one thing for ${longestCallMs} ms, and is ended`);
      void engine.abandon();
    }, longestCallMs);
    try {
      return await engine.run(messages);
    } finally {
      clearTimeout(timer);
    }
  }

  #release(connection: ClientConnection): void {
    this.#holder = undefined;
    if (connection.hasWork) this.#queue.add(connection);
    else if (this.#closing) connection.dismiss(...SHUTTING_DOWN);
  }

  async #closeStatements(names: string[], engine: Engine): Promise<void> {
    if (names.length > 0) await engine.run(Buffer.concat(names.map((name) => message("C", `S${name}`))));
  }

  /** Removes the transaction and prepared statements of a closed connection from the engine. */
  async #clearUp(connection: ClientConnection, engine: Engine): Promise<void> {
    const remains: Buffer[] = [];
    if (connection === this.#holder) remains.push(ROLL_BACK);
    const { hasStatements, prefix } = connection.names;
    if (hasStatements) remains.push(RESET_SESSION, dropStatements(prefix));
    if (remains.length > 0) {
      const status = readyStatus(await engine.run(Buffer.concat(remains)));
      if (status !== "I") throw new Error("the engine is not ready after a rollback");
    }
    if (connection === this.#holder) this.#holder = undefined;
  }

  async #restart(crash: unknown): Promise<void> {
    if (!this.#closing)
      this.#options.onWarning(`The embedded database has crashed and is opened again: ${reasonOf(crash)}`);
    const crashed = this.#engine;
    this.#engine = undefined;
    this.#holder = undefined;
    this.#lastHolder = undefined;
    for (const connection of this.#connections) {
      connection.dismiss("57P02", "terminating connection because the embedded database has crashed");
    }
    this.#queue.clear();
    await crashed?.abandon();
    if (!this.#closing) await this.#openAgain();
  }

  async #openAgain(): Promise<void> {
    if (performance.now() - this.#reopenedAt < REOPEN_AT_MOST_EVERY_MS) return;
    const { onWarning } = this.#options;
    this.#opening = this.#reopen().then(
      (engine) => {
        this.#engine = engine;
      },
      (error) => onWarning(`The embedded database can't be opened again yet: ${reasonOf(error)}`),
    );
    await this.#opening;
    this.#reopenedAt = performance.now();
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
