import { createHash } from "node:crypto";
import { query } from "./wire.ts";

/** The engine distinguishes statement names by their first 63 bytes, of which the prefix takes a few. */
const LONGEST_NAME = 43;

/** The names under which one connection's prepared statements are known to the engine, which all connections share. */
export class StatementNames {
  /** The prefix of all of these names. */
  readonly prefix: string;
  /** Whether the connection may have left statements in the engine. */
  hasStatements = false;
  #stale: string[] = [];
  #unnamed = 0;

  constructor(connectionId: number) {
    this.prefix = `c${connectionId}:`;
  }

  /** A name that no other connection uses. Each unnamed statement gets one of its own and supersedes the last. */
  serverName(name: string, parses: boolean): string {
    if (parses) this.hasStatements = true;
    if (name !== "") return `${this.prefix}=${shorten(name)}`;
    if (parses) {
      if (this.#unnamed > 0) this.#stale.push(`${this.prefix}${this.#unnamed}`);
      this.#unnamed += 1;
    }
    return `${this.prefix}${this.#unnamed}`;
  }

  /** The names that nothing refers to any more, each once. */
  takeStale(): string[] {
    const stale = this.#stale;
    this.#stale = [];
    return stale;
  }
}

function shorten(name: string): string {
  return Buffer.byteLength(name) <= LONGEST_NAME
    ? name
    : createHash("sha256").update(name).digest("base64url");
}

/** SQL that closes all prepared statements whose name begins with `prefix`, which must not contain quotes. */
export function dropStatements(prefix: string): Buffer {
  return query(`do $$ declare statement text; begin
    for statement in select name from pg_prepared_statements where starts_with(name, '${prefix}') loop
      execute format('deallocate %I', statement);
    end loop;
  end $$`);
}
