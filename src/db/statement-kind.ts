import { TABLE_NAMES } from "./table-names.ts";

/** The kind of a statement. Both values come from closed sets. */
export interface StatementKind {
  /** If there are several writes: the one of records, or else the first. */
  operation: "select" | "insert" | "update" | "delete" | "begin" | "commit" | "rollback" | "other";
  /** The gateway's table that the operation is on; undefined if it is on none of them. */
  table: string | undefined;
}

const TABLES: ReadonlySet<string> = new Set(TABLE_NAMES);
const WRITE = /\b(insert\s+into|update|delete\s+from)\s+(?:only\s+)?(?:"?public"?\.)?"?(\w+)/gi;
const READ = /\b(?:from|join)\s+(?:only\s+)?(?:"?public"?\.)?"?(\w+)/gi;
const FIRST_WORD = /^[\s(]*(\w+)/;
const OPERATIONS = new Set<string>(["select", "begin", "commit", "rollback"]);

/** Texts are few, except those of migrations and tests. */
const MOST_KINDS = 1000;
const known = new Map<string, StatementKind>();

/** What a statement with this text does. */
export function kindOf(text: string): StatementKind {
  const kept = known.get(text);
  if (kept) return kept;
  const kind = findKind(text);
  if (known.size < MOST_KINDS) known.set(text, kind);
  return kind;
}

function findKind(text: string): StatementKind {
  // `for update` and `on conflict do update` name no table.
  const writes = [...text.matchAll(WRITE)].filter(([, , table = ""]) => TABLES.has(table));
  const [, verb = "", written] = writes.find(([, , table]) => table === "kycs") ?? writes[0] ?? [];
  if (written !== undefined) {
    const [operation] = verb.toLowerCase().split(/\s/) as ["insert" | "update" | "delete"];
    return { operation, table: written };
  }
  const [, word = ""] = FIRST_WORD.exec(text) ?? [];
  const first = word.toLowerCase() === "with" ? "select" : word.toLowerCase();
  const operation = OPERATIONS.has(first) ? (first as StatementKind["operation"]) : "other";
  const [, table] = [...text.matchAll(READ)].find(([, name = ""]) => TABLES.has(name)) ?? [];
  return { operation, table };
}
