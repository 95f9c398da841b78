import { expect, test } from "vitest";
import { findIdempotencyKeyFaults, hashKey, toIdempotencyRequest } from "../../src/idempotency/key.ts";

const ask = (header: string) => toIdempotencyRequest(header);
/** As Node hands over a header that was sent as UTF-8. */
const asSent = (text: string) => Buffer.from(text).toString("latin1");

test("without the header there is nothing to do once", () => {
  expect(toIdempotencyRequest(undefined)).toBeNull();
  expect(findIdempotencyKeyFaults(null)).toEqual([]);
});

test.each([
  ["one character", "k"],
  ["a UUID", "6cbb6a26-f618-4fab-acaa-83e10b1e4a93"],
  ["what stripe-node sends", "stripe-node-retry-6cbb6a26-f618-4fab-acaa-83e10b1e4a93"],
  ["spaces inside", "a key with spaces"],
  ["255 characters", "k".repeat(255)],
  ["255 characters of several bytes", asSent("😀".repeat(255))],
  ["letters that were sent as UTF-8", asSent("ключ")],
  ["letters that were sent as Latin-1", "cl\u00e9"],
])("%s is a key", (_name, header) => {
  expect(findIdempotencyKeyFaults(ask(header))).toEqual([]);
});

test.each([
  ["nothing", ""],
  ["256 characters", "k".repeat(256)],
  ["256 characters of several bytes", asSent("😀".repeat(256))],
  ["a tab", "a\tb"],
  ["a control character", "a\u0085b"],
  ["a zero-width space", asSent("a\u200bb")],
])("%s is refused, by the name of the header and without its value", (_name, header) => {
  expect(findIdempotencyKeyFaults(ask(header))).toEqual([
    { path: ["Idempotency-Key"], kind: "invalid", message: "must have 1 to 255 printable characters" },
  ]);
});

test("a key is stored as a hash that differs by account and by key, and locks a signed 64-bit number", () => {
  const hash = (account: string, header: string) => hashKey(account, { header, replayed: false });
  expect(hash("acme", "k")).toEqual(hash("acme", "k"));
  const hashes = [hash("acme", "k"), hash("acme", "l"), hash("globex", "k")];
  expect(new Set(hashes.map(({ keyHash }) => keyHash)).size).toBe(3);
  for (const { keyHash, lock } of hashes) {
    expect(keyHash).toMatch(/^[\w-]{43}$/);
    expect(BigInt.asIntN(64, BigInt(lock))).toBe(BigInt(lock));
  }
});
