import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { badUserInput, type FieldFault } from "../errors.ts";
import { isKycId } from "../kyc-id.ts";
import { openList, type PagedList } from "../paging/list.ts";
import type { PageSlice } from "../paging/list-store.ts";
import { DEFAULT_PAGE_SIZE } from "../paging/page-input.ts";
import { readInput } from "../parse-input.ts";
import {
  comparePositions,
  fromKycCursor,
  NEWEST_FIRST,
  type Ordering,
  type Position,
  positionOf,
  toKycCursor,
} from "./cursor.ts";
import { type ListKycsInput, listKycsInput } from "./input.ts";
import type { Kyc } from "./record.ts";
import { inOrder, toSelection } from "./selection.ts";
import { ShownKyc } from "./show-kyc.ts";
import { countSelected, findPage } from "./store/list.ts";
import { findPosition } from "./store/read.ts";
import type { KycSelection } from "./store/selection.ts";

/**
 * The viewer's records that match the filter, in the order that `orderBy` names (newest first without it): the `first` or
 * `last` records between `after` and `before`; ten if neither is given. `after` and `before` accept a cursor of the same order,
 * in either direction and with any filter, or the id of a record; the id of a deleted record only in the order of creation.
 * Needs `kyc:read`, and `kyc:pii` to search for a number; if reads are audited, a successful search is in the audit trail.
 * Fails with BAD_USER_INPUT, naming every fault; `found` are those that the surface has found. A page that can't be found in
 * bounded time is such a fault.
 */
export async function listKycs(
  ctx: OperationContext,
  input: ListKycsInput,
  found: readonly FieldFault[] = [],
): Promise<PagedList<ShownKyc>> {
  const { accountId } = requireScope(ctx.viewer, "kyc:read");
  if (input.filter?.documentNumber != null) requireScope(ctx.viewer, "kyc:pii");
  const { value, faults } = readInput(listKycsInput, input, found);
  const { by: defaultOrder, isDescending: defaultDirection } = NEWEST_FIRST;
  const ordering: Ordering = {
    by: value?.orderBy?.field ?? defaultOrder,
    isDescending: value?.orderBy?.isDescending ?? defaultDirection,
  };
  const { by, isDescending } = ordering;
  // The order of an invalid input is not known.
  const { positions, misses } = await findPositions(ctx, accountId, input, value ? by : undefined);
  if (!value || misses.length > 0) throw badUserInput([...faults, ...misses]);
  const { first, last, filter } = value;
  const selected = toSelection(ctx, accountId, filter ?? {});
  const select = async (selection: KycSelection, slice: PageSlice) =>
    selected ? requirePage(await findPage(ctx.db, accountId, selection, slice)) : [];
  const filtered = inOrder(selected ?? {}, ordering);
  const list = openList<ShownKyc, Position, KycSelection>(
    {
      select: async (...page) => (await select(...page)).map((kyc) => new ShownKyc(ctx, kyc)),
      count: async () => (selected ? countSelected(ctx.db, accountId, selected) : 0),
      positionOf: (kyc) => positionOf(kyc, by),
      compare: isDescending ? comparePositions : (a, b) => comparePositions(b, a),
      cursorOf: (kyc) => toKycCursor(positionOf(kyc, by), by),
    },
    { filtered, first, last, ...positions },
  );
  if (filter?.documentNumber != null) {
    const newest = (limit: number) => select(filtered, { from: "newest", limit });
    await confirmFound(ctx, list, newest, first ?? last);
  }
  return list;
}

/** Fails if the store has not found the page among the records that it may look at. */
function requirePage(page: Kyc[] | undefined): Kyc[] {
  if (page) return page;
  const message =
    "selects too few records to find them in this order: use a shorter span of time, add verificationStatusIn or documentTypeIn, or use orderBy with the field of the span";
  throw badUserInput([{ path: ["filter"], kind: "invalid", message }]);
}

/**
 * Records for the audit trail which records a search by number finds, regardless of what the answer shows: those of the
 * page or, if the page is empty, the first ones, because `totalCount` and `pageInfo` reveal that there are some.
 */
async function confirmFound(
  { reads }: OperationContext,
  list: PagedList<ShownKyc>,
  newest: (limit: number) => Promise<Kyc[]>,
  size: number | null | undefined,
): Promise<void> {
  if (!reads) return;
  const { items } = await list.page();
  const found = items.length > 0 ? items : await newest(Math.max(1, size ?? DEFAULT_PAGE_SIZE));
  for (const { id, customerId } of found) reads.confirmed.set(id, customerId);
}

/**
 * The positions of the cursors in this order, and a fault for each that is a cursor of another order or the id of no record.
 * Malformed cursors are ignored here.
 */
async function findPositions(
  ctx: OperationContext,
  accountId: string,
  cursors: Pick<ListKycsInput, "after" | "before">,
  by: Ordering["by"] | undefined,
): Promise<{ positions: { after?: Position; before?: Position }; misses: FieldFault[] }> {
  const positions: { after?: Position; before?: Position } = {};
  const misses: FieldFault[] = [];
  for (const name of ["after", "before"] as const) {
    const text = cursors[name];
    if (typeof text !== "string") continue;
    const miss = (message: string) => misses.push({ path: [name], kind: "invalid", message });
    if (isKycId(text)) {
      const position = await findPosition(ctx.db, accountId, text, by ?? NEWEST_FIRST.by);
      if (position) positions[name] = position;
      else miss("is not a cursor of this list");
      continue;
    }
    const cursor = fromKycCursor(text);
    if (!cursor) continue;
    positions[name] = cursor.position;
    if (by !== undefined && cursor.by !== by)
      miss(
        `is a cursor of the order ${cursor.by.toUpperCase()}, and this list has the order ${by.toUpperCase()}`,
      );
  }
  return { positions, misses };
}
