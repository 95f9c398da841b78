import { expect, test } from "vitest";
import { makePageKey, PAGE_KEY_LIFETIME_MS, PageKeys } from "../../src/auth/page-keys.ts";
import { mintToken } from "../../src/auth/token-secret.ts";

const token = mintToken();
const START = Date.UTC(2026, 5, 1);

test("a key works once", () => {
  const keys = new PageKeys(token, START);
  const [first, second] = [makePageKey(token, START), makePageKey(token, START)];
  expect([first, first, second, second].map((key) => keys.redeem(key, START + 10))).toEqual([
    true,
    false,
    true,
    false,
  ]);
});

test("a key expires, and can't be used again after its use is forgotten", () => {
  const keys = new PageKeys(token, START);
  const [used, unused] = [makePageKey(token, START), makePageKey(token, START)];
  expect(keys.redeem(used, START + PAGE_KEY_LIFETIME_MS)).toBe(true);
  expect(keys.redeem(unused, START + PAGE_KEY_LIFETIME_MS + 1)).toBe(false);
  expect(keys.redeem(used, START + PAGE_KEY_LIFETIME_MS + 1)).toBe(false);
});

test("a key that was made before the gateway started is refused, as it may have been used", () => {
  const key = makePageKey(token, START - 1);
  expect(new PageKeys(token, START).redeem(key, START + 1)).toBe(false);
});

test("a key of another token is refused", () => {
  expect(new PageKeys(token, START).redeem(makePageKey(mintToken(), START), START)).toBe(false);
});

test("a key with any character changed, added or removed is refused", () => {
  const keys = new PageKeys(token, START);
  const key = makePageKey(token, START);
  for (let at = 0; at < key.length; at += 1) {
    const other = key[at] === "x" ? "y" : "x";
    expect(keys.redeem(key.slice(0, at) + other + key.slice(at + 1), START)).toBe(false);
    expect(keys.redeem(key.slice(0, at) + key.slice(at + 1), START)).toBe(false);
    expect(keys.redeem(key.slice(0, at) + other + key.slice(at), START)).toBe(false);
  }
  for (const other of ["", ".", "..", token, `${key}.`, ` ${key}`, `${key}\n`, "é".repeat(80)]) {
    expect(keys.redeem(other, START)).toBe(false);
  }
  expect(keys.redeem(key, START)).toBe(true);
});
