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
 * The checkpoints in the lines of a file: signed notes, one after the other; lines of JSON with a `checkpoint`, such as
 * those of the gateway's log and of `AUDIT_CHECKPOINT_FILE`; proofs. Whatever else there is is passed over. One is valid
 * if a key of the database, or one of the `others`, has signed it, under whatever name the logs had then.
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
async function* findNotes(lines: AsyncIterable<string>): AsyncGenerator<string> {
  let text: string[] = [];
  let ended: string[] = [];
  let signatures: string[] = [];
  const take = () => {
    const start = findStart(ended);
    const note = `${[...ended.slice(start), "", ...signatures].join("\n")}\n`;
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
    const logged = noteInJson(line);
    if (logged !== undefined) yield logged;
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

/** The checkpoint of a line of JSON, which can have something before it. */
function noteInJson(line: string): string | undefined {
  if (!line.includes('"checkpoint":"')) return undefined;
  try {
    const { checkpoint } = JSON.parse(line.slice(line.indexOf("{")));
    return typeof checkpoint === "string" && checkpoint.includes("\n\n— ") ? checkpoint : undefined;
  } catch {
    // A line that was cut.
    return undefined;
  }
}
