import { CheckpointError, openCheckpoint } from "./checkpoint.ts";
import type { Fault } from "./fault.ts";
import { NoteError, type NoteVerifier } from "./note.ts";
import type { LogKeys } from "./signing-keys.ts";
import type { TreeHead } from "./tree.ts";

/** Of a text that is no note: more lines in a row are not kept. */
const MOST_LINES = 100;
/** Faults that are listed one by one. */
const MOST_FAULTS = 100;

/** Checkpoints of the logs that an auditor has kept. */
export interface KeptCheckpoints {
  /** By account, and by size. */
  heads: ReadonlyMap<string, readonly TreeHead[]>;
  /** How many there are. */
  count: number;
  /** Checkpoints that no key of the database has signed. */
  faults: readonly Fault[];
}

/**
 * The checkpoints in the lines of a file: signed notes, one after the other; lines of JSON that have them, such as those of
 * the gateway's log, of `AUDIT_CHECKPOINT_FILE` and of answers; exports; proofs. Whatever else there is is passed over. One
 * is valid if a key of the database, or one of the `others`, has signed it, under whatever name the logs had then.
 */
export async function readCheckpoints(
  lines: AsyncIterable<string>,
  logKeys: LogKeys,
  others: readonly NoteVerifier[] = [],
): Promise<KeptCheckpoints> {
  const found = new Map<string, Map<string, TreeHead>>();
  const faults: Fault[] = [];
  let count = 0;
  for await (const note of findNotes(lines)) {
    const origin = note.slice(0, note.indexOf("\n"));
    const account = accountOf(origin);
    try {
      const { size, root } = openCheckpoint(note, origin, [...logKeys.verifiersOf(origin), ...others]);
      const heads = found.get(account) ?? new Map<string, TreeHead>();
      found.set(account, heads.set(`${size} ${root.toString("base64")}`, { size, root }));
      count += 1;
    } catch (error) {
      if (error instanceof CheckpointError) continue;
      if (!(error instanceof NoteError)) throw error;
      const message = `a checkpoint of ${origin} can't be trusted: ${error.message}`;
      if (faults.length < MOST_FAULTS) faults.push({ account, kind: "unproven", position: null, message });
    }
  }
  const bySize = ([account, heads]: [string, Map<string, TreeHead>]): [string, TreeHead[]] => [
    account,
    [...heads.values()].toSorted((a, b) => a.size - b.size),
  ];
  return { heads: new Map([...found].map(bySize)), count, faults };
}

/** The account of a log, by its name. */
function accountOf(origin: string): string {
  const name = origin.slice(origin.lastIndexOf("/") + 1);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** Finds signed notes in the lines: lines of text, an empty line, and signatures. */
async function* findNotes(lines: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string> {
  let text: string[] = [];
  let ended: string[] = [];
  let signatures: string[] = [];
  const take = () => {
    const start = findStart(ended);
    const [name = "", ...rest] = ended.slice(start);
    const note = `${[afterQuote(name), ...rest, "", ...signatures].join("\n")}\n`;
    const isNote = signatures.length > 0 && start !== -1;
    [ended, signatures] = [[], []];
    return isNote ? [note] : [];
  };
  for await (const line of lines) {
    if (line.startsWith("— ")) {
      signatures.push(line);
      continue;
    }
    yield* take();
    for (const text of textsInJson(line)) yield* findNotes(text.split("\n"));
    if (line === "") {
      [ended, text] = [text, []];
    } else {
      text.push(line);
      if (text.length > MOST_LINES) text = [];
    }
  }
  yield* take();
}

/** The index at which a checkpoint's text (name, size, root) begins in lines that end with it; -1 if there is none. */
function findStart(lines: readonly string[]): number {
  return lines.findLastIndex(
    (_, index) => /^\d+$/.test(lines[index + 1] ?? "") && /^[\w+/]{43}=$/.test(lines[index + 2] ?? ""),
  );
}

/** The last line of an export as CSV has a quote before the name of the log. No name has one. */
const afterQuote = (line: string) => line.slice(line.lastIndexOf('"') + 1);

/** A field of an object with a checkpoint or proof. In a text inside another text, the quotes have backslashes. */
const FIELD = /"(?:checkpoint|auditCheckpoint|proof)"\s*:\s*("(?:[^"\\]|\\.)*")/g;

/** The texts with checkpoints in a line that has JSON, or a part of it. */
function textsInJson(line: string): string[] {
  return [...line.matchAll(FIELD)].flatMap(([, literal = ""]) => {
    try {
      return [JSON.parse(literal) as string];
    } catch {
      // It is no JSON.
      return [];
    }
  });
}
