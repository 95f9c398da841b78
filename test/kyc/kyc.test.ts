import fc from "fast-check";
import { expect, test } from "vitest";
import { fromKycCursor, toKycCursor } from "../../src/kyc/cursor.ts";
import { isKycId, newKycId } from "../../src/kyc-id.ts";
import { ORDER_NAMES } from "../../src/vocabulary.ts";

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

test("a cursor leads back to its position and order, and no other text is a cursor", () => {
  const at = fc.oneof(moment, fc.constant(Number.POSITIVE_INFINITY));
  fc.assert(
    fc.property(moment, at, fc.constantFrom(...ORDER_NAMES), (createdAt, at, by) => {
      const position = { at, id: newKycId(createdAt) };
      const cursor = toKycCursor(position, by);
      expect(fromKycCursor(cursor)).toEqual({ by, position });
      expect(fromKycCursor(`${cursor}=`)).toBeNull();
      expect(fromKycCursor(` ${cursor}`)).toBeNull();
    }),
  );
  fc.assert(fc.property(fc.string(), (text) => fromKycCursor(text) === null));
  for (const text of [
    ...["1:0000000000000000;", "01:0000000000000000", "-0:0000000000000000", "1:short"],
    ...[
      "created_at:1:0000000000000000",
      "document_number:1:0000000000000000",
      "status_since::0000000000000000",
    ],
  ]) {
    expect(fromKycCursor(Buffer.from(text).toString("base64url"))).toBeNull();
  }
});
