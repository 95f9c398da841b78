import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Scope } from "../../src/auth/scopes.ts";
import { maskNumber } from "../../src/kyc/number/document-number.ts";
import { toAuditReason } from "../../src/kyc/reason.ts";

const viewer = (...scopes: Scope[]) => ({
  accountId: "acme",
  tokenId: "tok_1",
  tokenName: "test",
  expiresAt: null,
  scopes,
});
const officer = viewer("kyc:write", "kyc:pii");
const clerk = viewer("kyc:write");
/** The reason in the trail; null if it is refused. */
function reasonOf(who: typeof clerk, reason: string, number: string, given?: string): string | null {
  try {
    return toAuditReason(who, reason, given, () => number) as string;
  } catch (error) {
    expect(error).toMatchObject({ code: "BAD_USER_INPUT" });
    return null;
  }
}

describe("a short number", () => {
  test.each([
    ["1", "see ticket 10 of 2021-11, 1st attempt"],
    ["12", "page 123, since 2012"],
    ["AB12", "for XAB12, and AB123"],
    ["2012", "order 120120"],
  ])("%s is not found inside of other words: %j", (number, reason) => {
    expect(reasonOf(officer, reason, number)).toBe(reason);
    expect(reasonOf(clerk, reason, "Z9999999", number)).toBe(reason);
  });

  test.each([
    ["1", "he has 1."],
    ["12", "the 1 2 on it"],
    ["AB12", "for ab-12!"],
    ["AB 12", "(Ab12)"],
    ["A-1", "Ａ１ it is"],
    ["--", "for --"],
  ])("%s is found as words of its own: %j", (number, reason) => {
    expect(reasonOf(officer, reason, number)).toBeNull();
    expect(reasonOf(clerk, reason, "Z9999999", number)).toBeNull();
  });

  test.each([
    ["AB12", "on page 12, of 120120", "on page 12, of 120120"],
    ["AB12", "for ab-12, AB 12 and XAB12", "for ••-12, •• 12 and XAB12"],
    // A number that looks the same masked.
    ["AB12", "since 2012", "since ••12"],
    ["2012", "since 2012", "since ••12"],
    ["AB 12", "for AB 12", "for •• 12"],
    ["A-1", "A1 or b 1, and 11 31", "•1 or • 1, and •1 •1"],
    ["7", "for 7, on page 17", "for •, on page 17"],
  ])("%s is masked in %j for a viewer who may not see it: %j", (number, reason, expected) => {
    expect(reasonOf(clerk, reason, number)).toBe(expected);
  });
});

describe("of whatever length", () => {
  const letters = fc.string({ unit: fc.constantFrom("A", "b", "1", "2"), minLength: 1, maxLength: 9 });
  const separators = fc.constantFrom("", " ", "-", " / ");
  const front = fc.constantFrom("", "for ", "b1 ", "(");
  const back = fc.constantFrom("", " too", " b1", ").");

  test("a number as words of its own is refused, or masked for a viewer who may not see it", () => {
    fc.assert(
      fc.property(letters, separators, front, back, (number, separator, before, after) => {
        const reason = before + [...number].join(separator) + after;
        expect(reasonOf(officer, reason, number)).toBeNull();
        const hidden = maskNumber(number).replaceAll(/[^•]/g, "");
        const masked = reasonOf(clerk, reason, number) as string;
        expect(masked).toHaveLength(reason.length);
        const own = masked.slice(before.length).replaceAll(/[ \-/]/g, "");
        expect(own.slice(0, hidden.length)).toBe(hidden);
      }),
    );
  });

  test("a viewer who may not see it is told the same of every number with the same mask", () => {
    fc.assert(
      fc.property(
        letters,
        letters,
        fc.string({ unit: fc.constantFrom("A", "b", "1", "2", " ") }),
        (a, b, reason) => {
          const tail = maskNumber(a).replaceAll("•", "");
          const other = b.padEnd(a.length, "x").slice(0, a.length - tail.length) + tail;
          expect(maskNumber(other)).toBe(maskNumber(a));
          expect(reasonOf(clerk, reason, other)).toBe(reasonOf(clerk, reason, a));
        },
      ),
    );
  });
});
