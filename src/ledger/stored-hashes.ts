import { sql } from "drizzle-orm";
import type { Executor } from "../db/client.ts";
import { statement } from "../db/statement.ts";
import { untilTurn } from "../lib/turns.ts";
import type { Head } from "./heads.ts";
import { LedgerError } from "./ledger-error.ts";
import {
  append,
  emptyFrontier,
  HASH_LENGTH,
  joinSubtrees,
  type LeafRange,
  STORED_LEVELS,
  type Subtree,
  subtreesOf,
} from "./tree.ts";

const given = sql.placeholder;

/** Stored hashes that are read together: all that one stored hash of the next level covers. */
const TILE_SIZE = 2 ** STORED_LEVELS;

/** Stored hashes of one level, `TILE_SIZE` at most: those with the indexes from `index * TILE_SIZE` on. */
type Tile = Subtree;

/** The tile that a subtree can be computed from. */
const tileOf = ({ level, index }: Subtree): Tile => ({
  level: level - (level % STORED_LEVELS),
  index: Math.floor((index * 2 ** (level % STORED_LEVELS)) / TILE_SIZE),
});
const keyOf = ({ level, index }: Subtree) => `${level}/${index}`;

// One row for each tile, with all its hashes. As a subquery of its own, each is one range of an index.
const selectTiles = (hashes: ReturnType<typeof sql>) =>
  statement(
    () => sql`
      select tile.level::int, tile.index::float8, found.hashes, found.count::int, found.last::float8
      from unnest(${given("levels")}::int[], ${given("indexes")}::text[]::bigint[]) as tile(level, index)
      cross join lateral (${hashes}) as found`,
    ([level, index, hashes, count, last]: [number, number, Buffer | null, number, number | null]) => {
      if (count === 0) return { level, index, hashes: Buffer.alloc(0) };
      return { level, index, hashes: last === index * TILE_SIZE + count - 1 ? (hashes as Buffer) : null };
    },
  );
const inTile = (column: string) =>
  sql.raw(`${column} >= tile.index * ${TILE_SIZE} and ${column} < (tile.index + 1) * ${TILE_SIZE}`);
const selectLeafTiles = selectTiles(sql`
  select string_agg(leaf_hash, ''::bytea order by position) as hashes, count(*), max(position) as last
  from ledger_entries
  where account_id = ${given("accountId")} and ${inTile("position")}`);
const selectNodeTiles = selectTiles(sql`
  select string_agg(node.hash, ''::bytea order by node.index) as hashes, count(*), max(node.index) as last
  from ledger_nodes node
  where node.account_id = ${given("accountId")} and node.level = tile.level and ${inTile("node.index")}`);

/**
 * Reads what the hashes of these ranges of a log's leaves are computed from: one statement for the leaves and one for
 * the subtrees, with at most 256 hashes for each level and range, whatever the size of the log. The function that comes
 * back returns the hash of a range. It fails with a LedgerError if a hash is missing.
 */
export async function loadHashes(
  db: Executor,
  head: Head,
  ranges: readonly LeafRange[],
): Promise<(range: LeafRange) => Buffer> {
  const known = new Map<string, Buffer>();
  for (const [n, subtree] of subtreesOf({ from: 0, to: head.size }).entries()) {
    known.set(keyOf(subtree), head.hashes[n] as Buffer);
  }
  const tiles = new Map<string, Tile>();
  for (const subtree of ranges.flatMap(subtreesOf)) {
    const tile = tileOf(subtree);
    if (!known.has(keyOf(subtree))) tiles.set(keyOf(tile), tile);
  }
  for (const { level, index, hashes } of await readTiles(db, head.accountId, [...tiles.values()])) {
    if (hashes === null) throw isMissing(head);
    // A tile takes up to 0.4 ms.
    const turn = untilTurn();
    if (turn) await turn;
    computeInner(hashes, (inner, hash) => {
      const first = index * (TILE_SIZE / 2 ** inner.level);
      known.set(keyOf({ level: level + inner.level, index: first + inner.index }), hash);
    });
  }
  const hashOf = (subtree: Subtree): Buffer => {
    const hash = known.get(keyOf(subtree));
    if (!hash) throw isMissing(head);
    return hash;
  };
  return (range) => joinSubtrees(subtreesOf(range).map(hashOf));
}

const isMissing = ({ accountId }: Head) =>
  new LedgerError(`a stored hash of the log of ${accountId} is missing: run \`audit verify\``);

/** The hashes are null if there is a gap in them. */
async function readTiles(
  db: Executor,
  accountId: string,
  tiles: readonly Tile[],
): Promise<(Tile & { hashes: Buffer | null })[]> {
  const isOfLeaves = ({ level }: Tile) => level === 0;
  const read = (select: typeof selectLeafTiles, some: readonly Tile[]) =>
    some.length === 0
      ? []
      : select(db, {
          accountId,
          levels: some.map(({ level }) => level),
          indexes: some.map(({ index }) => String(index)),
        });
  const parts = await Promise.all([
    read(selectLeafTiles, tiles.filter(isOfLeaves)),
    read(
      selectNodeTiles,
      tiles.filter((tile) => !isOfLeaves(tile)),
    ),
  ]);
  return parts.flat();
}

/** Calls `onSubtree` with every complete subtree of a tile's hashes, as if they were the leaves of a tree. */
function computeInner(hashes: Buffer, onSubtree: (inner: Subtree, hash: Buffer) => void): void {
  const frontier = emptyFrontier();
  for (let at = 0; at < hashes.length; at += HASH_LENGTH) {
    append(frontier, hashes.subarray(at, at + HASH_LENGTH), onSubtree);
  }
}
