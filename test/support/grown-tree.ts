import {
  append,
  consistencyRanges,
  emptyFrontier,
  hashLeaf,
  inclusionRanges,
  joinSubtrees,
  type LeafRange,
  rootOf,
  type Subtree,
  subtreesOf,
} from "../../src/ledger/tree.ts";

const keyOf = ({ level, index }: Subtree) => `${level}/${index}`;

/** A tree that has grown leaf by leaf, and kept each complete subtree. */
export function grow(leaves: Buffer[]) {
  const frontier = emptyFrontier();
  const kept = new Map<string, Buffer>();
  for (const leaf of leaves) {
    append(frontier, hashLeaf(leaf), (subtree, hash) => kept.set(keyOf(subtree), hash));
  }
  const hashOf = (range: LeafRange) =>
    joinSubtrees(subtreesOf(range).map((subtree) => kept.get(keyOf(subtree)) as Buffer));
  return {
    frontier,
    head: { size: leaves.length, root: rootOf(frontier) },
    inclusion: (index: number) => inclusionRanges(index, leaves.length).map(hashOf),
    consistency: (first: number) => consistencyRanges(first, leaves.length).map(hashOf),
  };
}

/** So many different leaves. */
export const leavesOf = (count: number) => Array.from({ length: count }, (_, n) => Buffer.from(`leaf ${n}`));
