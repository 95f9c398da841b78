import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { badUserInput, type FieldFault } from "../errors.ts";
import { isKycId } from "../kyc-id.ts";
import { openList, type PagedList } from "../paging/list.ts";
import { DEFAULT_PAGE_SIZE } from "../paging/page-input.ts";
import { readInput } from "../parse-input.ts";
import { comparePositions, fromKycCursor, type Position, toKycCursor } from "./cursor.ts";
import { type KycFilter, type ListKycsInput, listKycsInput } from "./input.ts";
import { digestsOf } from "./number/document-number.ts";
import { ShownKyc } from "./show-kyc.ts";
import { type KycSelection, kycList } from "./store/list.ts";
import { findPosition } from "./store/read.ts";

/**
 * The viewer's records that match the filter, newest first: the `first` or `last` records between `after` and `before`;
 * ten if neither is given. `after` and `before` take a cursor, or the id of a record, even of a deleted one. Needs
 * `kyc:read`, and `kyc:pii` to search for a number; if reads are audited, a successful search is in the audit trail. Fails
 * with BAD_USER_INPUT, naming every fault; `found` are those that the surface has found.
 */
export async function listKycs(
  ctx: OperationContext,
  input: ListKycsInput,
  found: readonly FieldFault[] = [],
): Promise<PagedList<ShownKyc>> {
  const { accountId } = requireScope(ctx.viewer, "kyc:read");
  if (input.filter?.documentNumber != null) requireScope(ctx.viewer, "kyc:pii");
  const { value, faults } = readInput(listKycsInput, input, found);
  const { positions, misses } = await findPositions(ctx, accountId, input);
  if (!value || misses.length > 0) throw badUserInput([...faults, ...misses]);
  const { first, last, filter } = value;
  const number = filter?.documentNumber;
  const filtered = toSelection(filter ?? {});
  if (number != null) Object.assign(filtered, selectNumber(ctx, accountId, number));
  const list = openList<ShownKyc, Position, KycSelection>(
    {
      select: async (selection, stretch) => {
        const stored = await kycList.list(ctx.db, accountId, selection, stretch);
        return stored.map((kyc) => new ShownKyc(ctx, kyc));
      },
      count: (selection) => kycList.count(ctx.db, accountId, selection),
      positionOf: (kyc) => kyc,
      compare: comparePositions,
      cursorOf: toKycCursor,
    },
    { filtered, first, last, ...positions },
  );
  if (number != null) await confirmFound(ctx, accountId, list, filtered, first ?? last);
  return list;
}

/**
 * Records for the audit trail which records a search by number finds, regardless of what the answer shows: those of the
 * page or, if the page is empty, the newest ones, because `totalCount` and `pageInfo` reveal that there are some.
 */
async function confirmFound(
  { db, reads }: OperationContext,
  accountId: string,
  list: PagedList<ShownKyc>,
  filtered: KycSelection,
  size: number | null | undefined,
): Promise<void> {
  if (!reads) return;
  const { items } = await list.page();
  const limit = Math.max(1, size ?? DEFAULT_PAGE_SIZE);
  const found =
    items.length > 0 ? items : await kycList.list(db, accountId, filtered, { from: "newest", limit });
  for (const { id, customerId } of found) reads.confirmed.set(id, customerId);
}

/** The positions of the cursors, and a fault for each that is the id of no record. Malformed cursors are ignored here. */
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
    const position = isId ? await findPosition(ctx.db, accountId, cursor) : fromKycCursor(cursor);
    if (position) positions[name] = position;
    else if (isId) misses.push({ path: [name], kind: "invalid", message: "is not a cursor of this list" });
  }
  return { positions, misses };
}

// No id is empty, so `(time, "")` comes directly before all records of that millisecond.
const startOf = (createdAt: number): Position => ({ createdAt, id: "" });

function toSelection({ customerId, verificationStatus, documentType, createdAt }: KycFilter): KycSelection {
  const selection: KycSelection = {};
  if (customerId != null) selection.customerId = customerId;
  if (verificationStatus != null) selection.verificationStatus = verificationStatus;
  if (documentType != null) selection.documentType = documentType;
  if (createdAt?.from != null) selection.newerThan = startOf(createdAt.from);
  if (createdAt?.to != null) selection.olderThan = startOf(createdAt.to);
  return selection;
}

/** Numbers are found by their digests and, as long as plain numbers of an earlier release may be left, by their text. */
function selectNumber({ keys }: OperationContext, accountId: string, number: string): KycSelection {
  const digests = digestsOf(keys, accountId, number);
  if (keys.reached.has("numbers_sealed")) return { numberDigests: digests };
  return { numberAnywhere: { digests, plain: number } };
}
