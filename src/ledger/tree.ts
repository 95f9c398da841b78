import { hash as digest } from "node:crypto";

// The Merkle tree of RFC 6962, section 2.1. Sizes and indexes are safe integers: bit operators would cut them to 32 bits.

export const HASH_LENGTH = 32;

/** Of each so many levels one is stored: the leaves, and the complete subtrees of 256, of 65,536 … leaves. */
export const STORED_LEVELS = 8;

const LEAF_PREFIX = Buffer.of(0);
const NODE_PREFIX = Buffer.of(1);

/** The root of a tree without leaves. */
export const EMPTY_ROOT: Buffer = digest("sha256", "", "buffer");

/** The hash of a leaf. */
export function hashLeaf(data: string | Uint8Array): Buffer {
  // The prefix is one byte in UTF-8, too.
  if (typeof data === "string") return digest("sha256", `\0${data}`, "buffer");
  return digest("sha256", Buffer.concat([LEAF_PREFIX, data]), "buffer");
}

/** The hash of a node from those of its two children. */
function hashChildren(left: Buffer, right: Buffer): Buffer {
  return digest("sha256", Buffer.concat([NODE_PREFIX, left, right]), "buffer");
}

/** A complete subtree: it holds the leaves from `index * 2 ** level` on, `2 ** level` of them. */
export interface Subtree {
  level: number;
  index: number;
}

/** Leaves of a tree: `from` is included, `to` is not. */
export interface LeafRange {
  from: number;
  to: number;
}

/**
 * The right edge of a growing tree: the hashes of the largest complete subtrees that its leaves consist of, the left
 * one first. That is all a tree has to know of its leaves to get more of them.
 */
export interface Frontier {
  size: number;
  hashes: Buffer[];
}

export const emptyFrontier = (): Frontier => ({ size: 0, hashes: [] });

/** Appends one leaf to the tree. `onSubtree` gets every complete subtree that ends with it, the leaf itself first. */
export function append(
  frontier: Frontier,
  leafHash: Buffer,
  onSubtree: (subtree: Subtree, hash: Buffer) => void = () => {},
): void {
  const subtree = { level: 0, index: frontier.size };
  let hash = leafHash;
  onSubtree(subtree, hash);
  while (subtree.index % 2 === 1) {
    hash = hashChildren(frontier.hashes.pop() as Buffer, hash);
    subtree.level += 1;
    subtree.index = (subtree.index - 1) / 2;
    onSubtree(subtree, hash);
  }
  frontier.hashes.push(hash);
  frontier.size += 1;
}

/** Whether two trees have the same right edge: then they are the same, and grow to the same. */
export function isSameFrontier(a: Frontier, b: Frontier): boolean {
  return a.size === b.size && Buffer.concat(a.hashes).equals(Buffer.concat(b.hashes));
}

/** The root of the tree with this frontier. */
export function rootOf({ hashes }: Frontier): Buffer {
  return hashes.length === 0 ? EMPTY_ROOT : joinSubtrees(hashes);
}

/**
 * The complete subtrees that the leaves of a range consist of, the left one first: the fewest that there are, if the
 * range is one that a tree hashes together.
 */
export function subtreesOf({ from, to }: LeafRange): Subtree[] {
  const subtrees: Subtree[] = [];
  for (let at = from; at < to; ) {
    let level = 0;
    while (at % 2 ** (level + 1) === 0 && at + 2 ** (level + 1) <= to) level += 1;
    subtrees.push({ level, index: at / 2 ** level });
    at += 2 ** level;
  }
  return subtrees;
}

/** The hash of a range of leaves from those of its `subtreesOf`. */
export function joinSubtrees(hashes: readonly Buffer[]): Buffer {
  if (hashes.length === 0) throw new Error("a range has at least one subtree");
  return hashes.reduceRight((right, left) => hashChildren(left, right));
}

/**
 * The ranges whose hashes are the inclusion proof of the leaf at this index in a tree of this size, in the proof's
 * order. Fails with RangeError if the tree has no such leaf.
 */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  requireSizes(index, size);
  if (index >= size) throw new RangeError(`a tree of ${size} leaves has no leaf ${index}`);
  const ranges: LeafRange[] = [];
  for (let [from, to] = [0, size]; to - from > 1; ) {
    const middle = from + largestPowerBelow(to - from);
    if (index < middle) {
      ranges.push({ from: middle, to });
      to = middle;
    } else {
      ranges.push({ from, to: middle });
      from = middle;
    }
  }
  return ranges.reverse();
}

/**
 * The ranges whose hashes are the consistency proof from a tree to its continuation, in the proof's order: none if
 * the first one is empty or they are the same. Fails with RangeError if the first is larger.
 */
export function consistencyRanges(first: number, second: number): LeafRange[] {
  requireSizes(first, second);
  if (first > second) throw new RangeError(`a tree of ${first} leaves does not continue as one of ${second}`);
  if (first === 0) return [];
  const ranges: LeafRange[] = [];
  let [from, to] = [0, second];
  while (to !== first) {
    const middle = from + largestPowerBelow(to - from);
    if (first <= middle) {
      ranges.push({ from: middle, to });
      to = middle;
    } else {
      ranges.push({ from, to: middle });
      from = middle;
    }
  }
  // The rest are leaves of the first tree. If they are all its leaves, their hash is its root, which is known.
  if (from > 0) ranges.push({ from, to });
  return ranges.reverse();
}

/**
 * The root of a tree of this size that has this leaf at this index, by this proof. Undefined if no tree of this size
 * has such a proof. The caller compares the root with the one that it trusts.
 */
export function rootByInclusion(
  index: number,
  size: number,
  leafHash: Buffer,
  proof: readonly Buffer[],
): Buffer | undefined {
  if (index >= size) return undefined;
  const ranges = inclusionRanges(index, size);
  if (!hasLength(proof, ranges.length)) return undefined;
  return ranges.reduce((hash, { from }, step) => {
    const sibling = proof[step] as Buffer;
    return from > index ? hashChildren(hash, sibling) : hashChildren(sibling, hash);
  }, leafHash);
}

/** A tree as a checkpoint states it. */
export interface TreeHead {
  size: number;
  root: Buffer;
}

/** Whether the proof shows that the second tree continues the first one: that it begins with the same leaves. */
export function isConsistent(first: TreeHead, second: TreeHead, proof: readonly Buffer[]): boolean {
  if (first.size > second.size) return false;
  const ranges = consistencyRanges(first.size, second.size);
  if (!hasLength(proof, ranges.length)) return false;
  if (first.size === 0) return first.root.equals(EMPTY_ROOT);
  if (first.size === second.size) return first.root.equals(second.root);
  // The first range ends the first tree, unless the whole first tree is one subtree of the second.
  const startsInside = ranges[0]?.to === first.size;
  const start = startsInside ? (proof[0] as Buffer) : first.root;
  let [ofFirst, ofSecond] = [start, start];
  for (let step = startsInside ? 1 : 0; step < ranges.length; step++) {
    const [range, hash] = [ranges[step] as LeafRange, proof[step] as Buffer];
    if (range.from >= first.size) {
      ofSecond = hashChildren(ofSecond, hash);
    } else {
      ofFirst = hashChildren(hash, ofFirst);
      ofSecond = hashChildren(hash, ofSecond);
    }
  }
  return ofFirst.equals(first.root) && ofSecond.equals(second.root);
}

function hasLength(proof: readonly Buffer[], length: number): boolean {
  return proof.length === length && proof.every((hash) => hash.length === HASH_LENGTH);
}

/** The largest power of two below a number of at least 2. */
function largestPowerBelow(number: number): number {
  let power = 1;
  while (power * 2 < number) power *= 2;
  return power;
}

function requireSizes(...sizes: number[]): void {
  for (const size of sizes) {
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`${size} is no size of a tree`);
  }
}
