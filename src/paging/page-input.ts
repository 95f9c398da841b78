import { z } from "zod";

export const MAX_PAGE_SIZE = 100;
export const DEFAULT_PAGE_SIZE = 10;

const pageSize = z
  .number(`must be an integer from 0 to ${MAX_PAGE_SIZE}`)
  .refine((size) => Number.isInteger(size) && size >= 0 && size <= MAX_PAGE_SIZE, {
    message: `must be an integer from 0 to ${MAX_PAGE_SIZE}`,
  });
const instant = z.number("must be a time");
export const timeRange = z.object({ from: instant.nullish(), to: instant.nullish() });

/** The arguments of a list with these cursors, this filter and, if it has several orders, this order. */
export function pageInput<
  Cursor extends z.ZodType,
  Filter extends z.ZodType,
  Order extends z.ZodType = z.ZodUndefined,
>(cursor: Cursor, filter: Filter, orderBy: Order = z.undefined() as unknown as Order) {
  return z
    .object({
      first: pageSize.nullish(),
      after: cursor.nullish(),
      last: pageSize.nullish(),
      before: cursor.nullish(),
      filter: filter.nullish(),
      orderBy: orderBy.nullish(),
    })
    .refine(({ first, last }) => first == null || last == null, {
      path: ["last"],
      message: "can't be used together with first",
      // Reported even if other fields have faults.
      when: () => true,
    });
}
