import fc from "fast-check";

/** The arguments of a page. Cursors are given as indexes of all items that ever were, newest first. */
export interface PageQuery {
  first?: number | null | undefined;
  last?: number | null | undefined;
  after?: number | undefined;
  before?: number | undefined;
}

interface Item {
  id: string;
  cursor: string;
  /** Among all items that ever were, newest first. */
  index: number;
}

/** The correct page, computed from the items that its filter selects. */
export function expectedPage(selected: readonly Item[], { first, last, after, before }: PageQuery) {
  const inRange = selected.filter(
    ({ index }) => index > (after ?? -1) && index < (before ?? Number.POSITIVE_INFINITY),
  );
  const size = first ?? last ?? 10;
  const backward = last != null;
  const page = backward ? inRange.slice(Math.max(0, inRange.length - size)) : inRange.slice(0, size);
  const more = inRange.length > size;
  return {
    ids: page.map(({ id }) => id),
    hasNextPage:
      (!backward && more) || (before !== undefined && selected.some(({ index }) => index >= before)),
    hasPreviousPage:
      (backward && more) || (after !== undefined && selected.some(({ index }) => index <= after)),
    startCursor: page[0]?.cursor ?? null,
    endCursor: page.at(-1)?.cursor ?? null,
    totalCount: selected.length,
  };
}

export const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

/** Any arguments of a page of a list that ever had so many items. */
export function anyPageQuery(items: number): fc.Arbitrary<PageQuery> {
  const size = fc.oneof(fc.nat(12), fc.constant(100));
  const place = maybe(fc.nat(items - 1));
  return fc
    .record({
      count: maybe(fc.tuple(fc.constantFrom("first" as const, "last" as const), size)),
      after: place,
      before: place,
    })
    .map(({ count, ...rest }) => ({ ...rest, ...(count && { [count[0]]: count[1] }) }));
}
