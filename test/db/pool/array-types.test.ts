import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { codePoint } from "../../support/code-points.ts";
import { createTestDatabase } from "../../support/database.ts";

let database: Awaited<ReturnType<typeof createTestDatabase>>;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test("lists of texts come back from PostgreSQL as they went, and it sees the same texts", async () => {
  const hostile = fc.constantFrom("", "NULL", "null", "{}", '"', "\\", "a,b", " ", "\n", "{a}", "\\N", "💥");
  const text = fc.oneof(
    hostile,
    fc.string({ unit: codePoint }).map((value) => value.replaceAll("\0", "")),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.option(text), { maxLength: 8 }), async (list) => {
      const [row] = await database.db.send("select $1::text[], to_json($1::text[])::text", [list]);
      expect(row?.[0]).toEqual(list);
      expect(JSON.parse(String(row?.[1]))).toEqual(list);
    }),
    { numRuns: 200 },
  );
});

test("lists of integers arrive as such", async () => {
  const [row] = await database.db.send("select to_json($1::int[])::text, to_json($2::bigint[])::text", [
    [1, null, -2147483648],
    ["9223372036854775807", 5],
  ]);
  expect(row).toEqual(["[1,null,-2147483648]", "[9223372036854775807,5]"]);
});
