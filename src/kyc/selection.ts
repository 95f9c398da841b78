import type { OperationContext } from "../context.ts";
import type { OrderName } from "../vocabulary.ts";
import type { Ordering, Position } from "./cursor.ts";
import type { KycFilter } from "./input.ts";
import { digestsOf } from "./number/document-number.ts";
import type { KycSelection, Span } from "./store/selection.ts";

/** The field of the filter for each order. */
const SPANS = {
  created_at: "createdAt",
  updated_at: "updatedAt",
  status_since: "statusSince",
  expires_at: "expiresAt",
} as const satisfies Record<OrderName, keyof KycFilter>;
const ORDERS = Object.keys(SPANS) as OrderName[];

/** Which records a filter selects; undefined if it matches none, whatever records there are. */
export function toSelection(
  ctx: OperationContext,
  accountId: string,
  filter: KycFilter,
): KycSelection | undefined {
  const selection: KycSelection = {};
  const lists = {
    customerIds: intersect(filter.customerId, filter.customerIdIn),
    verificationStatuses: intersect(filter.verificationStatus, filter.verificationStatusIn),
    documentTypes: intersect(filter.documentType, filter.documentTypeIn),
  };
  for (const list of Object.values(lists)) if (list?.length === 0) return undefined;
  Object.assign(selection, Object.fromEntries(Object.entries(lists).filter(([, list]) => list)));
  for (const order of ORDERS) {
    const { from = null, to = null } = filter[SPANS[order]] ?? {};
    if (from !== null || to !== null) selection[order] = { from, to };
  }
  if (filter.documentNumber != null)
    Object.assign(selection, selectNumber(ctx, accountId, filter.documentNumber));
  return selection;
}

/** The values that both allow; undefined if both allow all. */
function intersect<T>(one: T | null | undefined, list: readonly T[] | null | undefined): T[] | undefined {
  if (list == null) return one == null ? undefined : [one];
  const values = [...new Set(list)];
  return one == null ? values : values.filter((value) => value === one);
}

/** Numbers are found by their digests and, as long as plain numbers of an earlier release may be left, by their text. */
function selectNumber({ keys }: OperationContext, accountId: string, number: string): KycSelection {
  const digests = digestsOf(keys, accountId, number);
  if (keys.reached.has("numbers_sealed")) return { numberDigests: digests };
  return { numberAnywhere: { digests, plain: number } };
}

// No id is empty, so `(time, "")` sorts directly before all records of that millisecond.
const startOf = (at: number): Position => ({ at, id: "" });

/** The selection in an order. A span of the order's own time becomes the bounds of the list. */
export function inOrder(selection: KycSelection, ordering: Ordering): KycSelection {
  const { [ordering.by]: span, ...others } = selection;
  const ordered: KycSelection = { ...others, ordering };
  if (!span) return ordered;
  // An open end does not include records that never have the time.
  const { from, to = null } = span as Span;
  const start = from === null ? undefined : startOf(from);
  const end =
    to === null && ordering.by !== "expires_at" ? undefined : startOf(to ?? Number.POSITIVE_INFINITY);
  const [newerThan, olderThan] = ordering.isDescending ? [start, end] : [end, start];
  if (newerThan) ordered.newerThan = newerThan;
  if (olderThan) ordered.olderThan = olderThan;
  return ordered;
}
