import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { badUserInput, type FieldFault } from "../errors.ts";
import { comparePositions, fromCursor, type Position } from "./cursor.ts";
import { digestsOf } from "./document-number.ts";
import { DEFAULT_PAGE_SIZE, type KycFilter, type ListKycsInput, listKycsInput, readInput } from "./input.ts";
import { isKycId } from "./kyc.ts";
import { countKycs, type Selection, listKycs as selectKycs } from "./list-store.ts";
import { hasPlainNumbers } from "./number-store.ts";
import { ShownKyc } from "./show-kyc.ts";
import { findPosition } from "./store.ts";

/** Records of a list, newest first. */
interface KycPage {
  records: ShownKyc[];
  /** Whether there are more of the range in the direction of travel. */
  more: boolean;
}

/** A list that was asked for. Each part is read when it is called for, and once; what was read is there at once. */
export interface KycList {
  page(): KycPage | Promise<KycPage>;
  /** Whether the list goes on, with older records, behind the page. */
  hasNextPage(): boolean | Promise<boolean>;
  /** Whether newer records stand before the page. */
  hasPreviousPage(): boolean | Promise<boolean>;
  /** How many records the filter has, on whatever page. */
  totalCount(): number | Promise<number>;
}

/**
 * The viewer's records that match the filter, newest first: `first` of them from the newest end of what lies
 * between `after` and `before`, or `last` of them from its oldest end; ten where neither is given. `after` and
 * `before` take a cursor or the id of a record, which may be deleted since. Needs `kyc:read`, and `kyc:pii` to look
 * for a number. Fails with BAD_USER_INPUT, naming every fault; `found` are those that the surface met already.
 */
export async function listKycs(
  ctx: OperationContext,
  input: ListKycsInput,
  found: readonly FieldFault[] = [],
): Promise<KycList> {
  const { accountId } = requireScope(ctx.viewer, "kyc:read");
  if (input.filter?.documentNumber != null) requireScope(ctx.viewer, "kyc:pii");
  const { value, faults } = readInput(listKycsInput, input, found);
  const { positions, misses } = await findPositions(ctx, accountId, input);
  if (!value || misses.length > 0) throw badUserInput([...faults, ...misses]);
  const { first, last, filter } = value;
  const { after, before } = positions;
  const number = filter?.documentNumber;
  const filtered = toSelection(filter ?? {});
  if (number != null) Object.assign(filtered, await selectNumber(ctx, accountId, number));
  const backward = last != null;
  const range = between(filtered, after, before);
  const limit = first ?? last ?? DEFAULT_PAGE_SIZE;
  const some = async (selection: Selection) =>
    (await selectKycs(ctx.db, accountId, selection, { from: "newest", limit: 1 })).length > 0;
  const read = once(async () => {
    const start = backward ? before : after;
    const { selection, inclusive } = start
      ? fromItsStart(range, start)
      : { selection: range, inclusive: false };
    const size = limit + (inclusive ? 2 : 1);
    const found = await selectKycs(ctx.db, accountId, selection, {
      from: backward ? "oldest" : "newest",
      limit: size,
    });
    const [nearest] = found;
    const startStands =
      inclusive && start !== undefined && nearest !== undefined && comparePositions(nearest, start) === 0;
    const beyond = startStands ? found.slice(1) : found;
    const records = beyond.slice(0, limit).map((stored) => new ShownKyc(ctx, stored));
    return { records: backward ? records.reverse() : records, more: beyond.length > limit, startStands };
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
    totalCount: once(() => countKycs(ctx.db, accountId, filtered)),
  };
}

/** Where the cursors stand, and a fault for each that is the id of no record. Other bad cursors are left out. */
async function findPositions(
  ctx: OperationContext,
  accountId: string,
  cursors: Pick<ListKycsInput, "after" | "before">,
): Promise<{ positions: { after?: Position; before?: Position }; misses: FieldFault[] }> {
  const positions: { after?: Position; before?: Position } = {};
  const misses: FieldFault[] = [];
  for (const name of ["after", "before"] as const) {
    const cursor = cursors[name];
    if (typeof cursor !== "string") continue;
    const isId = isKycId(cursor);
    const position = isId ? await findPosition(ctx.db, accountId, cursor) : fromCursor(cursor);
    if (position) positions[name] = position;
    else if (isId) misses.push({ path: [name], kind: "invalid", message: "is no cursor of this list" });
  }
  return { positions, misses };
}

// No id is empty: `(time, "")` stands right before the oldest-sorting record of its millisecond.
const startOf = (createdAt: number): Position => ({ createdAt, id: "" });

function toSelection({ customerId, verificationStatus, documentType, createdAt }: KycFilter): Selection {
  return {
    ...(customerId != null && { customerId }),
    ...(verificationStatus != null && { verificationStatus }),
    ...(documentType != null && { documentType }),
    ...(createdAt?.from != null && { newerThan: startOf(createdAt.from) }),
    ...(createdAt?.to != null && { olderThan: startOf(createdAt.to) }),
  };
}

/** Numbers are looked for by their digests; as long as an earlier release's are left, among the plain ones too. */
async function selectNumber(ctx: OperationContext, accountId: string, number: string): Promise<Selection> {
  const digests = digestsOf(ctx.keys, accountId, number);
  const anyPlain = await hasPlainNumbers(ctx.db, accountId);
  return anyPlain ? { numberAnywhere: { digests, plain: number } } : { numberDigests: digests };
}

function between(filtered: Selection, after?: Position, before?: Position): Selection {
  const range = { ...filtered };
  if (after && !(range.olderThan && comparePositions(range.olderThan, after) < 0)) range.olderThan = after;
  if (before && !(range.newerThan && comparePositions(range.newerThan, before) > 0)) range.newerThan = before;
  return range;
}

/**
 * The range with the record that it starts behind, where a cursor is its bound: that this record still stands tells
 * that the list goes on to that side, and saves asking.
 */
function fromItsStart(range: Selection, start: Position): { selection: Selection; inclusive: boolean } {
  const { olderThan, newerThan, ...rest } = range;
  if (olderThan === start) {
    return { selection: { ...rest, ...(newerThan && { newerThan }), fromHereOlder: start }, inclusive: true };
  }
  if (newerThan === start) {
    return { selection: { ...rest, ...(olderThan && { olderThan }), fromHereNewer: start }, inclusive: true };
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
