import { expect, test } from "vitest";
import { toJsonText } from "../../src/lib/json-text.ts";

async function* pages(...all: unknown[][]) {
  yield* all;
}
const textOf = async (text: AsyncIterable<string>) => {
  const pieces: string[] = [];
  for await (const piece of text) pieces.push(piece);
  return pieces;
};

test("lists of any number of pages, empty ones included, make one JSON object with their lengths", async () => {
  const lists = {
    a: pages([1, 2], [], [{ b: '"\n' }]),
    none: pages(),
    empty: pages([], []),
    late: pages([], [3]),
  };
  const pieces = await textOf(toJsonText({ head: "h" }, lists, (counts) => ({ counts })));
  expect(JSON.parse(pieces.join(""))).toEqual({
    ...{ head: "h", a: [1, 2, { b: '"\n' }], none: [], empty: [], late: [3] },
    counts: { a: 3, none: 0, empty: 0, late: 1 },
  });
  // Each of them is cut somewhere.
  for (let kept = 1; kept < pieces.length; kept++)
    expect(() => JSON.parse(pieces.slice(0, kept).join(""))).toThrow();
});
