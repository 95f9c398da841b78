import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { CheckpointError, openCheckpoint, signCheckpoint } from "../../src/ledger/checkpoint.ts";
import { NoteError, signerOf, signNote } from "../../src/ledger/note.ts";
import { formatProof, type InclusionProof, ProofError, parseProof } from "../../src/ledger/proof.ts";
import { EMPTY_ROOT } from "../../src/ledger/tree.ts";
import { keyPairOf } from "../../src/lib/ed25519.ts";

const origin = "kyc-gateway/0123/acme";
const key = signerOf(origin, keyPairOf(Buffer.alloc(32, 1)));
const root = Buffer.alloc(32, 2);
const rootText = root.toString("base64");
const checkpoint = { origin, size: 20_852_163, root };

describe("a checkpoint", () => {
  test("has the name of the log, its size and its root, in three lines", () => {
    const note = signCheckpoint(checkpoint, [key]);
    expect(note.split("\n\n")[0]).toBe(`${origin}\n20852163\n${rootText}`);
    expect(openCheckpoint(note, origin, [key])).toEqual(checkpoint);
  });

  test("can be that of an empty log, and have several signatures", () => {
    const other = signerOf(origin, keyPairOf(Buffer.alloc(32, 3)));
    const note = signCheckpoint({ origin, size: 0, root: EMPTY_ROOT }, [key, other]);
    for (const known of [key, other]) expect(openCheckpoint(note, origin, [known]).size).toBe(0);
  });

  test("may have lines of extensions, which are ignored", () => {
    const note = signNote(`${origin}\n1\n${rootText}\nextension\n2026\n`, [key]);
    expect(openCheckpoint(note, origin, [key])).toEqual({ origin, size: 1, root });
  });

  test("is refused if it is another log's, though the same key signed it", () => {
    const note = signCheckpoint({ ...checkpoint, origin: "kyc-gateway/0123/globex" }, [key]);
    expect(() => openCheckpoint(note, origin, [key])).toThrow(CheckpointError);
  });

  test("is refused without a signature of a known key", () => {
    const stranger = signerOf(origin, keyPairOf(randomBytes(32)));
    expect(() => openCheckpoint(signCheckpoint(checkpoint, [stranger]), origin, [key])).toThrow(NoteError);
  });

  test.each([
    `${origin}\n`,
    `${origin}\n1\n`,
    `\n1\n${rootText}\n`,
    `${origin}\n01\n${rootText}\n`,
    `${origin}\n-1\n${rootText}\n`,
    `${origin}\n+1\n${rootText}\n`,
    `${origin}\n1.0\n${rootText}\n`,
    `${origin}\n0x1\n${rootText}\n`,
    `${origin}\n 1\n${rootText}\n`,
    `${origin}\n\n${rootText}\n`,
    `${origin}\n9007199254740992\n${rootText}\n`,
    `${origin}\n1\n${rootText.slice(0, -1)}\n`,
    `${origin}\n1\n${rootText} \n`,
    `${origin}\n1\n${randomBytes(31).toString("base64")}\n`,
    `${origin}\n1\n${rootText}\n\n`,
    `${origin}\n1\n${rootText}\nextension\n\nextension\n`,
  ])("is not %j, even signed", (text) => {
    expect(() => openCheckpoint(signNote(text, [key]), origin, [key])).toThrow(CheckpointError);
  });

  test("that could not be opened is never signed", () => {
    expect(() => signCheckpoint({ ...checkpoint, origin: "" }, [key])).toThrow(CheckpointError);
    expect(() => signCheckpoint({ ...checkpoint, origin: "a\nb" }, [key])).toThrow(CheckpointError);
    expect(() => signCheckpoint({ ...checkpoint, size: -1 }, [key])).toThrow(CheckpointError);
    expect(() => signCheckpoint({ ...checkpoint, root: root.subarray(1) }, [key])).toThrow(CheckpointError);
  });
});

describe("a proof", () => {
  const note = signCheckpoint(checkpoint, [key]);
  const proof: InclusionProof = {
    extra: Buffer.from("the leaf\n"),
    index: 73_894,
    hashes: [Buffer.alloc(32, 4), Buffer.alloc(32, 5)],
    checkpoint: note,
  };
  const text = formatProof(proof);

  test("has its lines in the order of the specification, and the checkpoint as it is", () => {
    expect(text).toBe(
      [
        "c2sp.org/tlog-proof@v1",
        `extra ${Buffer.from("the leaf\n").toString("base64")}`,
        "index 73894",
        Buffer.alloc(32, 4).toString("base64"),
        Buffer.alloc(32, 5).toString("base64"),
        "",
        note,
      ].join("\n"),
    );
    expect(parseProof(text)).toEqual(proof);
  });

  test("may have no extra data, and no hashes if the log has one entry", () => {
    const shortest = { index: 0, hashes: [], checkpoint: note };
    expect(formatProof(shortest)).toBe(`c2sp.org/tlog-proof@v1\nindex 0\n\n${note}`);
    expect(parseProof(formatProof(shortest))).toEqual(shortest);
  });

  const [first, extra, index, hash] = text.split("\n") as [string, string, string, string];
  test.each([
    ["empty", ""],
    ["a checkpoint", note],
    ["of another version", text.replace("@v1", "@v2")],
    ["without an index", text.replace(`${index}\n`, "")],
    ["with its lines in another order", [first, index, extra, hash, "", note].join("\n")],
    ["with two indexes", text.replace(index, `${index}\n${index}`)],
    ["with a leading zero", text.replace("index 7", "index 07")],
    ["with a negative index", text.replace("index 7", "index -7")],
    ["with an index beyond all numbers", text.replace("index 7", "index 99999999999999999999")],
    ["with extra data that is not base64", text.replace(extra, "extra !")],
    ["with a hash of 31 bytes", text.replace(hash, Buffer.alloc(31).toString("base64"))],
    ["with a hash that has a space", text.replace(hash, `${hash} `)],
    ["with more hashes than a tree has levels", text.replace(hash, `${hash}\n`.repeat(60) + hash)],
    ["with Windows' ends of lines", text.replaceAll("\n", "\r\n")],
    ["cut before the checkpoint", text.slice(0, text.indexOf("\n\n"))],
  ])("is not one %s", (_, other) => {
    expect(() => parseProof(other)).toThrow(ProofError);
  });
});
