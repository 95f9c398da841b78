import { randomBytes } from "node:crypto";
import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  digestsOf,
  maskNumber,
  openNumber,
  sealNumber,
  UnreadableNumberError,
} from "../../src/kyc/number/document-number.ts";
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

const record = { id: "0000000000000001", version: 3 };
const sealAt = (number: string, { id, version } = record, account = "acme", bound = true) => ({
  ...{ id, version, plainNumber: null },
  ...sealNumber(keys, account, { id, version }, number, bound),
});

describe("a sealed number", () => {
  const sealed = sealAt("X1234567");

  test("opens in its record at its version", () => {
    expect(openNumber(keys, "acme", sealed)).toBe("X1234567");
  });

  test.each([
    ["record", "acme", { id: "0000000000000002" }],
    ["account", "acme2", {}],
    ["version", "acme", { version: 4, sealedVersion: 4 }],
    ["version than it is bound to", "acme", { version: 4 }],
    ["version, as if it were bound to none,", "acme", { version: 4, sealedVersion: null }],
  ])("does not open in another %s", (_what, account, changes) => {
    expect(() => openNumber(keys, account, { ...sealed, ...changes })).toThrow(UnreadableNumberError);
  });

  test("is as long as others of about its length, whatever it is", () => {
    const lengths = new Map<number, number>();
    const number = fc.string({
      unit: fc.constantFrom("A", "7", " ", "é", "護", "😀"),
      minLength: 1,
      maxLength: 64,
    });
    fc.assert(
      fc.property(number, (text) => {
        const one = sealAt(text);
        expect(openNumber(keys, "acme", one)).toBe(text);
        const bytes = Buffer.byteLength(text);
        const padded = [16, 32, 64, 128, 256].find((length) => length >= bytes) ?? 0;
        lengths.set(padded, one.sealedNumber.length);
        expect(one.sealedNumber.length).toBe(lengths.get(padded));
      }),
    );
    expect(new Set(lengths.values()).size).toBe(lengths.size);
  });

  test("opens nowhere but where it was sealed, and not if any of it was cut off or changed", () => {
    const place = fc.record({
      account: fc.constantFrom("acme", "acme2", "a"),
      id: fc.constantFrom("0000000000000001", "0000000000000002"),
      version: fc.integer({ min: 1, max: 13 }),
      bound: fc.boolean(),
    });
    fc.assert(
      fc.property(place, place, fc.nat({ max: 40 }), (from, to, cut) => {
        const one = sealAt("X1234567", from, from.account, from.bound);
        const moved = { ...one, id: to.id, version: to.version, sealedVersion: to.bound ? to.version : null };
        const isSame =
          from.account === to.account &&
          from.id === to.id &&
          from.bound === to.bound &&
          (!from.bound || from.version === to.version);
        if (isSame) expect(openNumber(keys, to.account, moved)).toBe("X1234567");
        else expect(() => openNumber(keys, to.account, moved)).toThrow(UnreadableNumberError);
        const short = { ...one, sealedNumber: one.sealedNumber.slice(0, -1 - cut) };
        expect(() => openNumber(keys, from.account, short)).toThrow();
        const at = "2026.".length + cut;
        const other = one.sealedNumber[at] === "A" ? "B" : "A";
        const changed = one.sealedNumber.slice(0, at) + other + one.sealedNumber.slice(at + 1);
        expect(() => openNumber(keys, from.account, { ...one, sealedNumber: changed })).toThrow(
          UnreadableNumberError,
        );
      }),
    );
  });

  test("of an earlier release opens at any version, until all are bound", () => {
    const old = { ...sealAt("X1234567", record, "acme", false), version: 9 };
    expect(old.sealedVersion).toBeNull();
    expect(openNumber(keys, "acme", old)).toBe("X1234567");
    const strict = new Keyring([newer]);
    strict.reached.add("numbers_bound");
    expect(() => openNumber(strict, "acme", old)).toThrow(UnreadableNumberError);
  });

  test("that can't be opened is named by its account and record, and by nothing else", () => {
    const plain = { ...record, sealedNumber: null, sealedVersion: null, plainNumber: "FORGED-1" };
    expect(openNumber(keys, "acme", plain)).toBe("FORGED-1");
    const strict = new Keyring([newer]);
    strict.reached.add("numbers_sealed");
    let error: unknown;
    try {
      openNumber(strict, "acme", plain);
    } catch (failure) {
      error = failure;
    }
    expect(error).toBeInstanceOf(UnreadableNumberError);
    expect(error).toMatchObject({ accountId: "acme", kycId: record.id });
    expect(inspect(error)).not.toContain("FORGED");
  });

  test("does not open without its key, and the error names the key", () => {
    const open = () => openNumber(new Keyring([older]), "acme", sealed);
    expect(open).toThrow(new MissingKeyError("2026"));
  });

  test("is found by a digest whichever key sealed it, and not by another account's", () => {
    const before = sealNumber(new Keyring([older]), "acme", record, "X1234567");
    const digests = digestsOf(keys, "acme", "X1234567");
    expect(digests).toContain(before.numberDigest);
    expect(digests).toContain(sealed.numberDigest);
    expect(digestsOf(keys, "globex", "X1234567")).not.toContain(sealed.numberDigest);
    expect(digestsOf(keys, "acme", "X1234568")).not.toContain(sealed.numberDigest);
  });
});
