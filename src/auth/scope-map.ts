import { SCOPES, type Scope } from "./scopes.ts";

/** Maps an identity provider's permissions to scopes. */
export type ScopeMap = ReadonlyMap<string, readonly Scope[]>;

/**
 * Parses a list of `word=scope scope` entries. Returns the map and all faults, which name an entry by its number. The last
 * `=` is the separator, so that a word can be any URL.
 */
export function parseScopeMap(entries: readonly string[]): { map: ScopeMap; faults: string[] } {
  const map = new Map<string, readonly Scope[]>();
  const faults: string[] = [];
  for (const [index, entry] of entries.entries()) {
    const [, word = "", list = ""] = /^(.+)=(.*)$/s.exec(entry.trim()) ?? [];
    const scopes = list.split(/\s+/).filter(Boolean);
    const fault = (rule: string) => faults.push(`has a fault in its entry ${index + 1}: ${rule}`);
    if (scopes.length === 0) fault("an entry is word=scope, or word=scope scope");
    else if (!scopes.every(isScope)) fault(`the scopes are ${SCOPES.join(", ")}`);
    else if (map.has(word)) fault("its word is that of another one");
    else map.set(word, scopes as Scope[]);
  }
  return { map, faults };
}

/** The scopes for these words, according to the map and the gateway's own names. Other words are ignored. */
export function toScopes(words: readonly unknown[], map: ScopeMap): Scope[] {
  const given = new Set(words.flatMap((word): readonly unknown[] => map.get(word as string) ?? [word]));
  return SCOPES.filter((scope) => given.has(scope));
}

const isScope = (word: string) => (SCOPES as readonly string[]).includes(word);
