import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Keyring, keyIdOf, MissingKeyError } from "../../src/sealing/keyring.ts";
import { codePoint } from "../support/code-points.ts";

const key = (id: string) => ({ id, secret: randomBytes(32) });
const [older, newer] = [key("2025"), key("2026")];
const before = new Keyring([older]);
const after = new Keyring([newer, older]);

describe("sealing", () => {
  test("a sealed text opens at its place, and only there", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: codePoint, maxLength: 100 }),
        fc.string(),
        fc.string(),
        (text, place, other) => {
          const sealed = after.seal(text, place);
          expect(after.open(sealed, place)).toBe(text);
          if (other !== place) expect(() => after.open(sealed, other)).toThrow("can't be opened");
        },
      ),
    );
  });

  test("a text sealed twice looks different each time, over many nonces", () => {
    const seen = new Set(Array.from({ length: 1000 }, () => after.seal("C01X00T47", "here")));
    expect(seen.size).toBe(1000);
  });

  test("a changed or shortened text is refused", () => {
    const [id, encrypted] = after.seal("C01X00T47", "here").split(".") as [string, string];
    const bytes = Buffer.from(encrypted, "base64url");
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => after.open(`${id}.${changed.toString("base64url")}`, "here")).toThrow("can't be opened");
      expect(() => after.open(`${id}.${bytes.subarray(0, at).toString("base64url")}`, "here")).toThrow();
    }
  });

  test("a new key seals, and the old one still opens", () => {
    const sealed = before.seal("C01X00T47", "here");
    expect(keyIdOf(sealed)).toBe("2025");
    expect(after.open(sealed, "here")).toBe("C01X00T47");
    expect(keyIdOf(after.seal("C01X00T47", "here"))).toBe("2026");
  });

  test("a text under a key that is not there fails with the id of that key", () => {
    const sealed = after.seal("C01X00T47", "here");
    expect(() => before.open(sealed, "here")).toThrow(new MissingKeyError("2026"));
  });
});

describe("digests", () => {
  test("a digest is the same for the same text, and differs by key, purpose and account", () => {
    const digest = after.digest("document_number", "acme", "C01X00T47");
    expect(after.digest("document_number", "acme", "C01X00T47")).toBe(digest);
    expect(before.digest("document_number", "acme", "C01X00T47")).not.toBe(digest);
    expect(after.digest("document_number", "globex", "C01X00T47")).not.toBe(digest);
    expect(after.digest("idempotent_request", "acme", "C01X00T47")).not.toBe(digest);
    expect(after.digest("document_number", "acme", "C01X00T48")).not.toBe(digest);
  });

  test("a digest of an older key can still be made", () => {
    const digest = before.digest("document_number", "acme", "C01X00T47");
    expect(after.digest("document_number", "acme", "C01X00T47", "2025")).toBe(digest);
  });
});
