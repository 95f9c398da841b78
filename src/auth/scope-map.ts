import { SCOPES, type Scope } from "./scopes.ts";

/** What a provider's words for permissions mean here. */
export type ScopeMap = ReadonlyMap<string, readonly Scope[]>;

/**
 * The map of a list of `word=scope scope` entries, and what is wrong with it: entries are named by their places. The
 * last `=` counts, so that a word may be a URL of any kind.
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

/** The scopes that these words mean: those of the map, and the gateway's own names. Any other means nothing here. */
export function toScopes(words: readonly unknown[], map: ScopeMap): Scope[] {
  const given = new Set(words.flatMap((word): readonly unknown[] => map.get(word as string) ?? [word]));
  return SCOPES.filter((scope) => given.has(scope));
}

const isScope = (word: string) => (SCOPES as readonly string[]).includes(word);
