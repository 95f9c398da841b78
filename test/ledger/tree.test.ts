import { createHash } from "node:crypto";
import { assert, constant, nat, oneof, property, tuple, uint8Array } from "fast-check";
import { describe, expect, test } from "vitest";
import {
  consistencyRanges,
  EMPTY_ROOT,
  hashLeaf,
  inclusionRanges,
  isConsistent,
  rootByInclusion,
  subtreesOf,
} from "../../src/ledger/tree.ts";
import { grow, leavesOf } from "../support/grown-tree.ts";

const sha256 = (...parts: Uint8Array[]) => createHash("sha256").update(Buffer.concat(parts)).digest();
const [ZERO, ONE] = [Buffer.of(0), Buffer.of(1)];

/** RFC 9162, 2.1.1 to 2.1.4, as the RFC writes them. */
const rfc = {
  split: (n: number) => 2 ** (Math.ceil(Math.log2(n)) - 1),
  head(leaves: Buffer[]): Buffer {
    const [n, first] = [leaves.length, leaves[0]];
    if (!first) return sha256();
    if (n === 1) return sha256(ZERO, first);
    const k = rfc.split(n);
    return sha256(ONE, rfc.head(leaves.slice(0, k)), rfc.head(leaves.slice(k)));
  },
  path(m: number, leaves: Buffer[]): Buffer[] {
    if (leaves.length === 1) return [];
    const k = rfc.split(leaves.length);
    const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
    return m < k ? [...rfc.path(m, left), rfc.head(right)] : [...rfc.path(m - k, right), rfc.head(left)];
  },
  subproof(m: number, leaves: Buffer[], complete: boolean): Buffer[] {
    if (m === leaves.length) return complete ? [] : [rfc.head(leaves)];
    const k = rfc.split(leaves.length);
    const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
    return m <= k
      ? [...rfc.subproof(m, left, complete), rfc.head(right)]
      : [...rfc.subproof(m - k, right, false), rfc.head(left)];
  },
  includes(index: number, size: number, leafHash: Buffer, path: Buffer[], root: Buffer): boolean {
    if (index >= size) return false;
    let [fn, sn, r] = [BigInt(index), BigInt(size) - 1n, leafHash];
    for (const p of path) {
      if (sn === 0n) return false;
      if (fn & 1n || fn === sn) {
        r = sha256(ONE, p, r);
        while (!(fn & 1n) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
      } else r = sha256(ONE, r, p);
      [fn, sn] = [fn >> 1n, sn >> 1n];
    }
    return sn === 0n && r.equals(root);
  },
  continues(first: number, second: number, firstHash: Buffer, secondHash: Buffer, given: Buffer[]): boolean {
    if (given.length === 0) return false;
    const path = Number.isInteger(Math.log2(first)) ? [firstHash, ...given] : given;
    let [fn, sn] = [BigInt(first) - 1n, BigInt(second) - 1n];
    while (fn & 1n) [fn, sn] = [fn >> 1n, sn >> 1n];
    let [fr, sr] = [path[0] as Buffer, path[0] as Buffer];
    for (const c of path.slice(1)) {
      if (sn === 0n) return false;
      if (fn & 1n || fn === sn) {
        [fr, sr] = [sha256(ONE, c, fr), sha256(ONE, c, sr)];
        while (!(fn & 1n) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
      } else sr = sha256(ONE, sr, c);
      [fn, sn] = [fn >> 1n, sn >> 1n];
    }
    return fr.equals(firstHash) && sr.equals(secondHash) && sn === 0n;
  },
};

/** Sizes near powers of two, at which trees change their form, and others. */
const size = oneof(
  nat({ max: 130 }),
  tuple(nat({ max: 7 }), constant(1)).map(([k]) => 2 ** k),
);

test("the roots are those of the test vectors of Certificate Transparency", () => {
  const leaves = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
  ].map((hex) => Buffer.from(hex, "hex"));
  expect(leaves.map((_, n) => grow(leaves.slice(0, n + 1)).head.root.toString("hex"))).toEqual([
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
  ]);
  expect(EMPTY_ROOT.toString("hex")).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
});

test("roots and inclusion proofs are those of RFC 9162, and its algorithm accepts them", () => {
  assert(
    property(size, nat(), (count, at) => {
      const leaves = leavesOf(count + 1);
      const index = at % leaves.length;
      const tree = grow(leaves);
      const proof = tree.inclusion(index);
      const leafHash = hashLeaf(leaves[index] as Buffer);
      expect(tree.head.root).toEqual(rfc.head(leaves));
      expect(proof).toEqual(rfc.path(index, leaves));
      expect(rfc.includes(index, leaves.length, leafHash, proof, tree.head.root)).toBe(true);
      expect(rootByInclusion(index, leaves.length, leafHash, proof)).toEqual(tree.head.root);
    }),
  );
});

test("consistency proofs are those of RFC 9162, and its algorithm accepts them", () => {
  assert(
    property(size, nat(), (count, at) => {
      const leaves = leavesOf(count + 1);
      const first = grow(leaves.slice(0, 1 + (at % leaves.length)));
      const second = grow(leaves);
      const proof = second.consistency(first.head.size);
      expect(proof).toEqual(rfc.subproof(first.head.size, leaves, true));
      expect(isConsistent(first.head, second.head, proof)).toBe(true);
      if (first.head.size === second.head.size) return;
      const { size: from, root } = first.head;
      expect(rfc.continues(from, leaves.length, root, second.head.root, proof)).toBe(true);
    }),
  );
});

describe("a proof is refused", () => {
  const hash = uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes));

  test("if one of its hashes, its leaf, its length or its place is another", () => {
    assert(
      property(size, nat(), nat(), hash, (count, at, step, other) => {
        const leaves = leavesOf(count + 2);
        const index = at % leaves.length;
        const { head, inclusion } = grow(leaves);
        const proof = inclusion(index);
        const leafHash = hashLeaf(leaves[index] as Buffer);
        const verify = (hashes: Buffer[], leaf = leafHash, place = index) =>
          rootByInclusion(place, head.size, leaf, hashes)?.equals(head.root) ?? false;
        expect(verify(proof.with(step % proof.length, other))).toBe(false);
        expect(verify(proof, other)).toBe(false);
        expect(verify(proof.slice(1))).toBe(false);
        expect(verify([...proof, other])).toBe(false);
        expect(verify(proof.map((one) => one.subarray(1)))).toBe(false);
        expect(verify(proof, leafHash, (index + 1) % head.size)).toBe(false);
        expect(verify(proof, leafHash, head.size)).toBe(false);
      }),
    );
  });

  test("if the second tree does not begin with the first one", () => {
    assert(
      property(size, nat(), nat(), hash, (count, at, step, other) => {
        const leaves = leavesOf(count + 2);
        const first = grow(leaves.slice(0, 1 + (at % (leaves.length - 1))));
        const second = grow(leaves);
        const proof = second.consistency(first.head.size);
        const verify = (hashes: Buffer[]) => isConsistent(first.head, second.head, hashes);
        expect(verify(proof.with(step % proof.length, other))).toBe(false);
        expect(verify(proof.slice(1))).toBe(false);
        expect(verify([...proof, other])).toBe(false);
        expect(isConsistent({ ...first.head, root: other }, second.head, proof)).toBe(false);
        expect(isConsistent(first.head, { ...second.head, root: other }, proof)).toBe(false);
        expect(isConsistent(second.head, first.head, proof)).toBe(false);
        const changed = leaves.with(step % first.head.size, Buffer.from("changed"));
        expect(isConsistent(first.head, grow(changed).head, grow(changed).consistency(first.head.size))).toBe(
          false,
        );
      }),
    );
  });

  test("unless an empty tree has the root of an empty tree", () => {
    const { head } = grow(leavesOf(3));
    expect(isConsistent({ size: 0, root: EMPTY_ROOT }, head, [])).toBe(true);
    expect(isConsistent({ size: 0, root: head.root }, head, [])).toBe(false);
    expect(isConsistent(head, { ...head, root: EMPTY_ROOT }, [])).toBe(false);
  });
});

test("trees of more leaves than 32 bits can count have proofs of the right form", () => {
  const size = 2 ** 45 + 3;
  const ranges = inclusionRanges(2 ** 44, size);
  expect(ranges).toHaveLength(46);
  expect(ranges.every(({ from, to }) => to > from)).toBe(true);
  expect(ranges.at(-1)).toEqual({ from: 2 ** 45, to: size });
  expect(subtreesOf({ from: 2 ** 45, to: size })).toEqual([
    { level: 1, index: 2 ** 44 },
    { level: 0, index: 2 ** 45 + 2 },
  ]);
  expect(consistencyRanges(2 ** 45, size)).toEqual([{ from: 2 ** 45, to: size }]);
});

test("what is no size or has no such leaf is an error", () => {
  expect(() => inclusionRanges(3, 3)).toThrow(RangeError);
  expect(() => inclusionRanges(-1, 3)).toThrow(RangeError);
  expect(() => inclusionRanges(0, 2 ** 60)).toThrow(RangeError);
  expect(() => consistencyRanges(4, 3)).toThrow(RangeError);
  expect(() => consistencyRanges(0.5, 3)).toThrow(RangeError);
});
