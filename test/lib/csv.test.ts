import { expect, test } from "vitest";
import { toCsvRow } from "../../src/lib/csv.ts";

test("a row ends with CR LF, and has quotes around what needs them alone", () => {
  expect(toCsvRow(["a", "b c", 1, -2, true, null, ""])).toBe("a,b c,1,-2,true,,\r\n");
  expect(toCsvRow(['say "no"', "a,b", "a;b", "a\nb", "a\rb", " a", "a "])).toBe(
    '"say ""no""","a,b","a;b","a\nb","a\rb"," a","a "\r\n',
  );
});

test.each(["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1+1", "\n@x", "－1"])(
  "a text that a spreadsheet would run is a text: %j",
  (text) => {
    expect(toCsvRow([text])).toMatch(/^"?'/);
  },
);

test("a text that only contains such a sign stays as it is", () => {
  expect(toCsvRow(["a=b", "a-b", "mail@example", "1+1"])).toBe("a=b,a-b,mail@example,1+1\r\n");
});
