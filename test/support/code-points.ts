import fc from "fast-check";

const SURROGATES = { first: 0xd800, count: 0x800 };

/** One character: any code point of Unicode. fast-check's own `unit: "binary"` takes a second to list them all, in each test file. */
export const codePoint = fc
  .nat(0x10ffff - SURROGATES.count)
  .map((n) => String.fromCodePoint(n < SURROGATES.first ? n : n + SURROGATES.count));
