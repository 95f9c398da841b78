import fc from "fast-check";
import { expect, test } from "vitest";
import { fromKycCursor, toKycCursor } from "../../src/kyc/cursor.ts";
import { isKycId, newKycId } from "../../src/kyc-id.ts";

const moment = fc.integer({ min: 0, max: Date.parse("2080-01-01T00:00:00Z") });
const bytes = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

test("ids have sixteen letters and digits, and sort by the millisecond they were made in", () => {
  fc.assert(
    fc.property(moment, moment, (a, b) => {
      const [first, second] = [newKycId(a), newKycId(b)];
      expect([first, second].every(isKycId)).toBe(true);
      if (a !== b) expect(bytes(first, second)).toBe(a < b ? -1 : 1);
    }),
  );
});

test("ids of one millisecond differ", () => {
  const ids = new Set(Array.from({ length: 10_000 }, () => newKycId(1_700_000_000_000)));
  expect(ids.size).toBe(10_000);
});

test("a cursor leads back to its place, and no other text is a cursor", () => {
  fc.assert(
    fc.property(moment, (createdAt) => {
      const place = { createdAt, id: newKycId(createdAt) };
      expect(fromKycCursor(toKycCursor(place))).toEqual(place);
      expect(fromKycCursor(`${toKycCursor(place)}=`)).toBeNull();
      expect(fromKycCursor(` ${toKycCursor(place)}`)).toBeNull();
    }),
  );
  fc.assert(fc.property(fc.string(), (text) => fromKycCursor(text) === null));
  for (const text of ["1:0000000000000000;", "01:0000000000000000", "-0:0000000000000000", "1:short"]) {
    expect(fromKycCursor(Buffer.from(text).toString("base64url"))).toBeNull();
  }
});
