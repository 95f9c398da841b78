import { decodeBase64, parseDecimal } from "./encoding.ts";
import { type NoteSigner, type NoteVerifier, openNote, signNote } from "./note.ts";
import { HASH_LENGTH, type TreeHead } from "./tree.ts";

// Checkpoints of a log: https://c2sp.org/tlog-checkpoint

/** A text is no checkpoint, or that of another log. */
export class CheckpointError extends Error {
  override readonly name = "CheckpointError";
}

/** The state of a log: how many events it has, and the root of their tree. */
export interface Checkpoint extends TreeHead {
  /** The name of the log. */
  origin: string;
}

/** The checkpoint as a note that each of the keys has signed. */
export function signCheckpoint(checkpoint: Checkpoint, signers: readonly NoteSigner[]): string {
  const { origin, size, root } = checkpoint;
  const text = `${origin}\n${size}\n${root.toString("base64")}\n`;
  // Never sign a text that can't be parsed again.
  parseCheckpoint(text);
  return signNote(text, signers);
}

/**
 * The checkpoint of a note that at least one of the keys has signed. Fails with NoteError as `openNote`, and with
 * CheckpointError if its text is no checkpoint, or one of a log of another name.
 */
export function openCheckpoint(note: string, origin: string, known: readonly NoteVerifier[]): Checkpoint {
  const checkpoint = parseCheckpoint(openNote(note, known).text);
  if (checkpoint.origin !== origin) {
    throw new CheckpointError(`the checkpoint is of the log ${checkpoint.origin}, not of ${origin}`);
  }
  return checkpoint;
}

/** Extension lines, which a log may add, are ignored. */
function parseCheckpoint(text: string): Checkpoint {
  const lines = text.split("\n");
  const [origin = "", sizeLine = "", rootLine = "", ...extensions] = lines;
  const size = parseDecimal(sizeLine);
  const root = decodeBase64(rootLine);
  const isComplete = extensions.pop() === "" && lines.slice(0, -1).every((line) => line !== "");
  if (!isComplete || size === null || root?.length !== HASH_LENGTH) {
    throw new CheckpointError("this text is no checkpoint");
  }
  return { origin, size, root };
}
