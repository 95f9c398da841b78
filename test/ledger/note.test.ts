import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  formatVerifier,
  NoteError,
  openNote,
  parseVerifier,
  signerOf,
  signNote,
  verifierOf,
} from "../../src/ledger/note.ts";
import { keyPairOf } from "../../src/lib/ed25519.ts";

// From the documentation of Go's sumdb/note.
const PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const ENOCH_SEED = Buffer.alloc(32, 9);
const TEXT =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETERS_LINE =
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const NOTE = `${TEXT}\n${PETERS_LINE}`;
// The secret half of the same documentation: its key is an example that the world knows.
const PETERS_SEED = Buffer.from("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz", "base64").subarray(1);

const peter = parseVerifier(PETER);
const enoch = signerOf("EnochRoot", keyPairOf(ENOCH_SEED));
const lineOf = (note: string) => note.slice(note.lastIndexOf("\n\n") + 2);

test("a note of Go's documentation is signed to the byte, and opened", () => {
  const signer = signerOf("PeterNeumann", keyPairOf(PETERS_SEED));
  expect(formatVerifier(signer)).toBe(PETER);
  expect(signNote(TEXT, [signer])).toBe(NOTE);
  expect(openNote(NOTE, [peter])).toEqual({ text: TEXT, signedBy: [peter] });
});

test("the same key under another name is another key", () => {
  const other = signerOf("other.example", keyPairOf(ENOCH_SEED));
  expect(other.keyId).not.toEqual(enoch.keyId);
  expect(() => openNote(signNote(TEXT, [other]), [enoch])).toThrow("none of the known keys");
});

test("a note has as many signatures as there are keys, and one known key is enough", () => {
  const many = Array.from({ length: 16 }, (_, n) => signerOf(`key${n}.example`, keyPairOf(randomBytes(32))));
  const note = signNote(TEXT, many);
  expect(openNote(note, [many[15] ?? peter]).signedBy).toEqual([many[15]]);
  expect(openNote(note, many).signedBy).toEqual(many);
  expect(() => openNote(note, [])).toThrow(NoteError);
});

test("signatures of unknown keys are ignored, of whatever kind and length, also with a known name or a known id", () => {
  const sameName = verifierOf("EnochRoot", randomBytes(32));
  const unknown = [
    `— witness.example ${Buffer.concat([randomBytes(4), randomBytes(5000)]).toString("base64")}\n`,
    `— EnochRoot ${Buffer.concat([sameName.keyId, randomBytes(64)]).toString("base64")}\n`,
    `— witness.example ${Buffer.concat([enoch.keyId, randomBytes(64)]).toString("base64")}\n`,
  ];
  const note = `${TEXT}\n${unknown.join("")}${lineOf(signNote(TEXT, [enoch]))}`;
  expect(openNote(note, [enoch]).signedBy).toEqual([enoch]);
});

test("a text may have empty lines: the last one is what separates it from the signatures", () => {
  for (const text of ["\n", "a\n\nb\n", "a\n\n\n", "\n\na\n", `${NOTE}\n${NOTE}`]) {
    expect(openNote(signNote(text, [enoch]), [enoch]).text).toBe(text);
  }
});

describe("a note is refused", () => {
  const note = signNote(TEXT, [enoch]);
  const wrong = `— EnochRoot ${Buffer.concat([enoch.keyId, randomBytes(64)]).toString("base64")}\n`;
  const short = `— EnochRoot ${Buffer.concat([enoch.keyId, randomBytes(63)]).toString("base64")}\n`;
  const line = lineOf(note);
  const encoded = line.split(" ")[2]?.trim() ?? "";
  const cases: [why: string, note: string][] = [
    ["its text is another", note.replace("answer", "Answer")],
    ["its text has a line more", `\n${note}`],
    ["a signature of a known key is wrong, even if another is right", `${note}${wrong}`],
    ["a signature of a known key is short", `${TEXT}\n${short}`],
    ["a known key has not signed it", NOTE],
    ["it has no signature", TEXT],
    ["it has no signature after the empty line", `${TEXT}\n`],
    ["it is empty", ""],
    ["its last newline is missing", note.slice(0, -1)],
    ["something follows", `${note}x\n`],
    ["its lines end as in Windows", note.replaceAll("\n", "\r\n")],
    ["it has a NUL", note.replace("problem", "prob\0lem")],
    ["it has a tab", `a\tb\n\n${line}`],
    ["a name has a space", `${TEXT}\n${line.replace("EnochRoot", "Enoch Root")}${line}`],
    ["a name has a no-break space", `${TEXT}\n${line.replace("EnochRoot", "Enoch\u00a0Root")}${line}`],
    ["a name has a plus", `${TEXT}\n${line.replace("EnochRoot", "Enoch+Root")}${line}`],
    ["a name is empty", `${TEXT}\n${line.replace("EnochRoot", "")}${line}`],
    ["a dash is a hyphen", `${TEXT}\n${line.replace("—", "-")}`],
    ["a signature is not base64", `${TEXT}\n— other.example !!!!\n${line}`],
    ["base64 lacks its padding", `${TEXT}\n${line.replace("=\n", "\n")}`],
    ["base64 is that of URLs", `${TEXT}\n— other.example ${"-_".repeat(8)}\n${line}`],
    ["a signature has an id alone", `${TEXT}\n— other.example ${randomBytes(4).toString("base64")}\n${line}`],
    ["it has a hundred signatures and one", `${TEXT}\n${line.repeat(101)}`],
    ["it is longer than a million characters", `${"x".repeat(1_000_000)}\n\n${line}`],
    ["half of a surrogate pair is in it", `\ud83d\n\n${line}`],
  ];
  test.each(cases)("if %s", (_, text) => {
    expect(encoded).toMatch(/=$/);
    expect(() => openNote(text, [enoch])).toThrow(NoteError);
  });
});

test.each(["", "no newline", "a\r\n", "a\0\n", "\t\n", "\ud800\n"])("the text %j can't be signed", (text) => {
  expect(() => signNote(text, [enoch])).toThrow(NoteError);
});

test.each(["", "a b", "a+b", "a\nb", "a\u2003b", "a\u0085b", "a\0b"])(
  "%j can't be the name of a key",
  (name) => {
    expect(() => verifierOf(name, randomBytes(32))).toThrow(NoteError);
    expect(() => signerOf(name, keyPairOf(randomBytes(32)))).toThrow(NoteError);
  },
);

test.each([
  "",
  "PeterNeumann",
  PETER.replace("c74f20a3", "c74f20a4"),
  PETER.replace("c74f20a3", "C74F20A3"),
  PETER.replace("PeterNeumann", "Peter Neumann"),
  PETER.replace("+ARpc", "+BRpc"),
  PETER.slice(0, -4),
  `${PETER}\n`,
  "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
])("%j is no verifying key", (text) => {
  expect(() => parseVerifier(text)).toThrow(NoteError);
});
