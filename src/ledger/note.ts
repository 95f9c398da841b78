import { createHash, type KeyObject, sign, verify } from "node:crypto";
import { type KeyPair, publicBytes, publicKeyOf } from "../lib/ed25519.ts";
import { decodeBase64 } from "./encoding.ts";

// Signed notes with Ed25519: https://c2sp.org/signed-note

/** The signature type of an Ed25519 key, in its id and before its bytes. */
const ED25519 = Buffer.of(1);
const KEY_ID_LENGTH = 4;
const PUBLIC_KEY_LENGTH = 32;
const SIGNATURE_LENGTH = 64;
/** Characters of a note, and its signatures: more are refused before any is verified. */
const MOST_CHARACTERS = 1_000_000;
const MOST_SIGNATURES = 100;

/** A note can't be trusted, or isn't one. */
export class NoteError extends Error {
  override readonly name = "NoteError";
}

/** A key that verifies notes. The same public key under another name is another key. */
export interface NoteVerifier {
  readonly name: string;
  /** Four bytes that, with the name, tell which key a signature is of. */
  readonly keyId: Buffer;
  readonly publicKey: KeyObject;
}

/** A key that signs notes. */
export interface NoteSigner extends NoteVerifier {
  readonly privateKey: KeyObject;
}

/** A note whose signatures by known keys are valid. */
export interface OpenedNote {
  text: string;
  /** The known keys that have signed it, at least one. */
  signedBy: NoteVerifier[];
}

/** The signing key of this name. Fails with NoteError if a note can't have the name. */
export function signerOf(name: string, { privateKey, publicKey }: KeyPair): NoteSigner {
  return { name, keyId: keyIdOf(name, publicBytes(publicKey)), publicKey, privateKey };
}

/** The verifying key of this name with this public key of 32 bytes. Fails with NoteError if they can't be one. */
export function verifierOf(name: string, publicKey: Uint8Array): NoteVerifier {
  if (publicKey.length !== PUBLIC_KEY_LENGTH) throw new NoteError("an Ed25519 public key has 32 bytes");
  return { name, keyId: keyIdOf(name, publicKey), publicKey: publicKeyOf(publicKey) };
}

function keyIdOf(name: string, publicKey: Uint8Array): Buffer {
  if (!isKeyName(name)) throw new NoteError("a key's name is not empty, and has no space and no plus sign");
  const hash = createHash("sha256").update(`${name}\n`).update(ED25519).update(publicKey).digest();
  return hash.subarray(0, KEY_ID_LENGTH);
}

/** The verifying key as one line, as Go's `sumdb/note` reads it: `<name>+<key id>+<public key>`. */
export function formatVerifier({ name, keyId, publicKey }: NoteVerifier): string {
  const key = Buffer.concat([ED25519, publicBytes(publicKey)]);
  return `${name}+${keyId.toString("hex")}+${key.toString("base64")}`;
}

/** The verifying key that `formatVerifier` wrote. Fails with NoteError for any other text. */
export function parseVerifier(text: string): NoteVerifier {
  const [, name = "", keyId, encoded = ""] = /^([^+]*)\+([0-9a-f]{8})\+(.*)$/s.exec(text) ?? [];
  const key = decodeBase64(encoded);
  if (!key || key[0] !== ED25519[0]) throw new NoteError("this is not an Ed25519 key of a note");
  const verifier = verifierOf(name, key.subarray(1));
  if (verifier.keyId.toString("hex") !== keyId) throw new NoteError("the id is not this key's");
  return verifier;
}

/**
 * The text as a note, signed by each of the keys. Fails with NoteError if the text can't be a note's: it ends with a
 * newline, and has no other control character.
 */
export function signNote(text: string, signers: readonly NoteSigner[]): string {
  if (!isNoteText(text) || !text.endsWith("\n")) throw new NoteError("this text can't be a note's");
  const lines = signers.map(({ name, keyId, privateKey }) => {
    const signature = sign(null, Buffer.from(text, "utf8"), privateKey);
    return `— ${name} ${Buffer.concat([keyId, signature]).toString("base64")}\n`;
  });
  return `${text}\n${lines.join("")}`;
}

/**
 * The text of a note that at least one of the keys has signed. Signatures of other keys are ignored. Fails with
 * NoteError if there is none of a known key, if one of a known key is wrong, and for what is not a note.
 */
export function openNote(note: string, known: readonly NoteVerifier[]): OpenedNote {
  const { text, signatures } = parseNote(note);
  const bytes = Buffer.from(text, "utf8");
  const signedBy = new Set<NoteVerifier>();
  for (const { name, keyId, signature } of signatures) {
    const verifier = known.find((key) => key.name === name && key.keyId.equals(keyId));
    if (!verifier) continue;
    if (signature.length !== SIGNATURE_LENGTH || !verify(null, bytes, verifier.publicKey, signature)) {
      throw new NoteError(`the signature of ${name} is wrong`);
    }
    signedBy.add(verifier);
  }
  if (signedBy.size === 0) throw new NoteError("none of the known keys has signed the note");
  return { text, signedBy: [...signedBy] };
}

interface SignatureLine {
  name: string;
  keyId: Buffer;
  signature: Buffer;
}

/** Takes a note apart, and verifies nothing. */
function parseNote(note: string): { text: string; signatures: SignatureLine[] } {
  if (note.length > MOST_CHARACTERS) throw new NoteError("the note is too long");
  const end = note.lastIndexOf("\n\n");
  if (end === -1 || !note.endsWith("\n") || !isNoteText(note))
    throw new NoteError("this is not a signed note");
  const lines = note.slice(end + 2).split("\n");
  lines.pop();
  if (lines.length > MOST_SIGNATURES) throw new NoteError("the note has too many signatures");
  return { text: note.slice(0, end + 1), signatures: lines.map(parseSignature) };
}

function parseSignature(line: string): SignatureLine {
  const [dash, name = "", encoded = "", ...others] = line.split(" ");
  const bytes = decodeBase64(encoded);
  if (dash !== "—" || !isKeyName(name) || others.length > 0 || !bytes || bytes.length <= KEY_ID_LENGTH) {
    throw new NoteError("a signature line of the note is malformed");
  }
  return { name, keyId: bytes.subarray(0, KEY_ID_LENGTH), signature: bytes.subarray(KEY_ID_LENGTH) };
}

function isKeyName(name: string): boolean {
  return name !== "" && !/[\p{White_Space}+]/u.test(name) && isNoteText(name);
}

/** Whether it is valid UTF-8 without control characters of ASCII other than newlines. */
function isNoteText(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a note may not have.
  return !/[\0-\x09\x0b-\x1f]|\p{Surrogate}/u.test(text);
}
