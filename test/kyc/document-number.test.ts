import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { digestsOf, maskNumber, openNumber, sealNumber } from "../../src/kyc/document-number.ts";
import { Keyring, MissingKeyError } from "../../src/sealing/keyring.ts";

const key = (id: string) => ({ id, secret: randomBytes(32) });
const [older, newer] = [key("2025"), key("2026")];
const keys = new Keyring([newer, older]);

describe("a masked number", () => {
  test.each([
    ["123456789", "•••••6789"],
    ["12345678", "••••5678"],
    ["1234567", "••••567"],
    ["123", "••3"],
    ["12", "•2"],
    ["1", "•"],
    ["😀😀😀😀", "••😀😀"],
  ])("of %s is %s", (number, masked) => {
    expect(maskNumber(number)).toBe(masked);
  });

  test("is as long as the number, and ends as it does with at most four characters and half of it", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("A", "7", "-", "é", "😀"), { minLength: 1, maxLength: 64 }),
        (number) => {
          const masked = [...maskNumber(number.join(""))];
          const hidden = masked.filter((character) => character === "•").length;
          const shown = number.length - hidden;
          expect(masked).toEqual([...Array(hidden).fill("•"), ...number.slice(hidden)]);
          expect(shown).toBe(Math.min(4, Math.floor(number.length / 2)));
        },
      ),
    );
  });
});

describe("a sealed number", () => {
  const sealed = { ...sealNumber(keys, "acme", "0000000000000001", "X1234567"), plainNumber: null };

  test("opens in its record", () => {
    expect(openNumber(keys, "acme", { ...sealed, id: "0000000000000001" })).toBe("X1234567");
  });

  test.each([
    ["record", "acme", "0000000000000002"],
    ["account", "acme2", "0000000000000001"],
  ])("does not open in another %s", (_what, account, id) => {
    expect(() => openNumber(keys, account, { ...sealed, id })).toThrow("can't be opened");
  });

  test("does not open without its key, and the error names the key", () => {
    const open = () => openNumber(new Keyring([older]), "acme", { ...sealed, id: "0000000000000001" });
    expect(open).toThrow(new MissingKeyError("2026"));
  });

  test("is found by a digest whichever key sealed it, and not by another account's", () => {
    const before = sealNumber(new Keyring([older]), "acme", "0000000000000001", "X1234567");
    const digests = digestsOf(keys, "acme", "X1234567");
    expect(digests).toContain(before.numberDigest);
    expect(digests).toContain(sealed.numberDigest);
    expect(digestsOf(keys, "globex", "X1234567")).not.toContain(sealed.numberDigest);
    expect(digestsOf(keys, "acme", "X1234568")).not.toContain(sealed.numberDigest);
  });
});
