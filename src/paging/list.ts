import { DEFAULT_PAGE_SIZE } from "../kyc/input.ts";
import type { Stretch } from "./list-store.ts";

/** Items of a list, newest first. */
interface Page<Item> {
  items: Item[];
  /** Whether there are more of the range in the direction of travel. */
  more: boolean;
}

/** A list that was asked for. Each part is read when it is called for, and once; what was read is there at once. */
export interface PagedList<Item> {
  page(): Page<Item> | Promise<Page<Item>>;
  /** Whether the list goes on, with older items, behind the page. */
  hasNextPage(): boolean | Promise<boolean>;
  /** Whether newer items stand before the page. */
  hasPreviousPage(): boolean | Promise<boolean>;
  /** How many items the filter has, on whatever page. */
  totalCount(): number | Promise<number>;
  /** The opaque cursor of an item. */
  cursorOf(item: Item): string;
}

/** Which part of a list is meant, by places in it. */
export interface Bounds<Position> {
  /** Newer than this place in the list, itself excluded. */
  newerThan?: Position | undefined;
  olderThan?: Position | undefined;
  /** This place in the list, and what is newer. */
  fromHereNewer?: Position | undefined;
  fromHereOlder?: Position | undefined;
}

/** How a list is read. */
export interface ListReader<Item, Position, Selection> {
  select(selection: Selection, stretch: Stretch): Promise<Item[]>;
  count(selection: Selection): Promise<number>;
  positionOf(item: Item): Position;
  /** Below zero where `a` is older than `b`, above where it is newer. */
  compare(a: Position, b: Position): number;
  cursorOf(item: Item): string;
}

/** Which page of a list is asked for. */
export interface Ask<Position, Selection> {
  filtered: Selection;
  first?: number | null | undefined;
  last?: number | null | undefined;
  after?: Position | undefined;
  before?: Position | undefined;
}

/**
 * The list's items that the filter selects, newest first: `first` of them from the newest end of what lies between
 * `after` and `before`, or `last` of them from its oldest end; ten where neither is given. It reads one more than
 * asked for, and what a cursor stands on, so that it knows whether the list goes on.
 */
export function openList<Item, Position, Selection extends Bounds<Position>>(
  reader: ListReader<Item, Position, Selection>,
  { filtered, first, last, after, before }: Ask<Position, Selection>,
): PagedList<Item> {
  const { compare } = reader;
  const backward = last != null;
  const range = between(filtered, compare, after, before);
  const limit = first ?? last ?? DEFAULT_PAGE_SIZE;
  const some = async (selection: Selection) =>
    (await reader.select(selection, { from: "newest", limit: 1 })).length > 0;
  const read = once(async () => {
    const start = backward ? before : after;
    const { selection, inclusive } =
      start === undefined
        ? { selection: range, inclusive: false }
        : fromItsStart<Position, Selection>(range, start);
    const size = limit + (inclusive ? 2 : 1);
    const found = await reader.select(selection, { from: backward ? "oldest" : "newest", limit: size });
    const [nearest] = found;
    const startStands =
      inclusive &&
      start !== undefined &&
      nearest !== undefined &&
      compare(reader.positionOf(nearest), start) === 0;
    const beyond = startStands ? found.slice(1) : found;
    const items = beyond.slice(0, limit);
    return { items: backward ? items.reverse() : items, more: beyond.length > limit, startStands };
  });
  return {
    page: read,
    hasNextPage: once(() =>
      whenRead(read(), ({ more, startStands }) => {
        if (backward ? startStands : more) return true;
        return before !== undefined && some({ ...filtered, fromHereOlder: before });
      }),
    ),
    hasPreviousPage: once(() =>
      whenRead(read(), ({ more, startStands }) => {
        if (backward ? more : startStands) return true;
        return after !== undefined && some({ ...filtered, fromHereNewer: after });
      }),
    ),
    totalCount: once(() => reader.count(filtered)),
    cursorOf: reader.cursorOf,
  };
}

function between<Position, Selection extends Bounds<Position>>(
  filtered: Selection,
  compare: (a: Position, b: Position) => number,
  after?: Position,
  before?: Position,
): Selection {
  const range = { ...filtered };
  const { newerThan, olderThan } = filtered;
  if (after !== undefined && !(olderThan !== undefined && compare(olderThan, after) < 0)) {
    range.olderThan = after;
  }
  if (before !== undefined && !(newerThan !== undefined && compare(newerThan, before) > 0)) {
    range.newerThan = before;
  }
  return range;
}

/**
 * The range with the item that it starts behind, where a cursor is its bound: that this item still stands tells that
 * the list goes on to that side, and saves asking.
 */
function fromItsStart<Position, Selection extends Bounds<Position>>(
  range: Selection,
  start: Position,
): { selection: Selection; inclusive: boolean } {
  if (range.olderThan === start) {
    return { selection: { ...range, olderThan: undefined, fromHereOlder: start }, inclusive: true };
  }
  if (range.newerThan === start) {
    return { selection: { ...range, newerThan: undefined, fromHereNewer: start }, inclusive: true };
  }
  return { selection: range, inclusive: false };
}

/** Goes on with what was read: at once where it is there. */
export function whenRead<T, U>(read: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return read instanceof Promise ? read.then(next) : next(read);
}

function once<T>(read: () => T | Promise<T>): () => T | Promise<T> {
  let known: { value: T | Promise<T> } | undefined;
  return () => {
    if (!known) {
      const reading = { value: read() };
      known = reading;
      const keep = (value: T) => {
        reading.value = value;
      };
      if (reading.value instanceof Promise) reading.value.then(keep, () => {});
    }
    return known.value;
  };
}
