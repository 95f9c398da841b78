import type { PageSlice } from "./list-store.ts";
import { DEFAULT_PAGE_SIZE } from "./page-input.ts";

/** Items of a list, newest first. */
interface Page<Item> {
  items: Item[];
  /** Whether the range has more items in the paging direction. */
  more: boolean;
}

/** A requested list. Each part is read when it is first called for, and only once. Afterwards it returns synchronously. */
export interface PagedList<Item> {
  page(): Page<Item> | Promise<Page<Item>>;
  /** Whether there are older items after the page. */
  hasNextPage(): boolean | Promise<boolean>;
  /** Whether there are newer items before the page. */
  hasPreviousPage(): boolean | Promise<boolean>;
  /** The number of items that match the filter, on all pages. */
  totalCount(): number | Promise<number>;
  /** The opaque cursor of an item. */
  cursorOf(item: Item): string;
}

/** All pages of a list, one after the other. `open` opens it after a cursor, or at the beginning without one. */
export async function* pagesOf<Item>(
  open: (after: string | undefined) => PagedList<Item> | Promise<PagedList<Item>>,
): AsyncGenerator<readonly Item[]> {
  for (let after: string | undefined; ; ) {
    const list = await open(after);
    const { items, more } = await list.page();
    yield items;
    const last = items.at(-1);
    if (!more || last === undefined) return;
    after = list.cursorOf(last);
  }
}

/** A part of a list, bounded by positions. */
export interface Bounds<Position> {
  /** Exclusive. */
  newerThan?: Position | undefined;
  olderThan?: Position | undefined;
  /** Inclusive. */
  fromHereNewer?: Position | undefined;
  fromHereOlder?: Position | undefined;
}

/** Reads a list. */
export interface ListReader<Item, Position, Selection> {
  select(selection: Selection, slice: PageSlice): Promise<Item[]>;
  count(selection: Selection): Promise<number>;
  positionOf(item: Item): Position;
  /** Negative if `a` is older than `b`, positive if it is newer. */
  compare(a: Position, b: Position): number;
  cursorOf(item: Item): string;
}

/** The requested page. */
export interface ListRequest<Position, Selection> {
  filtered: Selection;
  first?: number | null | undefined;
  last?: number | null | undefined;
  after?: Position | undefined;
  before?: Position | undefined;
}

/**
 * Opens the list of items that match the filter, newest first: the `first` items between `after` and `before`, or the
 * `last` items; ten if neither is given. It reads one more item than requested, and the cursor's own item, to find out
 * whether there are more items in both directions.
 */
export function openList<Item, Position, Selection extends Bounds<Position>>(
  reader: ListReader<Item, Position, Selection>,
  { filtered, first, last, after, before }: ListRequest<Position, Selection>,
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
    const startExists =
      inclusive &&
      start !== undefined &&
      nearest !== undefined &&
      compare(reader.positionOf(nearest), start) === 0;
    const rest = startExists ? found.slice(1) : found;
    const items = rest.slice(0, limit);
    return { items: backward ? items.reverse() : items, more: rest.length > limit, startExists };
  });
  return {
    page: read,
    hasNextPage: once(() =>
      whenRead(read(), ({ more, startExists }) => {
        if (backward ? startExists : more) return true;
        return before !== undefined && some({ ...filtered, fromHereOlder: before });
      }),
    ),
    hasPreviousPage: once(() =>
      whenRead(read(), ({ more, startExists }) => {
        if (backward ? more : startExists) return true;
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
 * Includes the cursor's own item in the range if the cursor is its bound. If that item still exists, the list continues
 * on that side, and no other statement is needed to find out.
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

/** Calls `next` with the value that was read, synchronously if it is available. */
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
