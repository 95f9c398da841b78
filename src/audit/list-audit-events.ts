import { z } from "zod";
import { requireScope } from "../auth/scopes.ts";
import { findTokenIds } from "../auth/tokens.ts";
import type { OperationContext } from "../context.ts";
import { badUserInput, type FieldFault } from "../errors.ts";
import { isKycId } from "../kyc-id.ts";
import { openList, type PagedList } from "../paging/list.ts";
import type { PageSlice } from "../paging/list-store.ts";
import { pageInput, timeRange } from "../paging/page-input.ts";
import { parseInput, type Raw } from "../parse-input.ts";
import { AUDIT_ACTIONS, VERIFICATION_STATUSES } from "../vocabulary.ts";
import { fromAuditCursor, fromEventId, toAuditCursor } from "./cursor.ts";
import type { AuditEvent } from "./event.ts";
import { type AuditSelection, auditList, hasEvent, isSpan } from "./list-store.ts";

const TOKEN_ID = /^[\w-]{1,64}$/;
const PRINTABLE = /^\P{C}+$/u;
/** Characters of a customer's id or of a name. */
const LONGEST_TEXT = 500;

const NO_CURSOR = "is not a cursor of this list";

const cursor = z
  .string("must be a cursor")
  .refine((text) => (fromEventId(text) ?? fromAuditCursor(text)) !== null, NO_CURSOR);
const text = z
  .string("must be a string")
  .refine((value) => PRINTABLE.test(value) && value.length <= LONGEST_TEXT, {
    message: `must have 1 to ${LONGEST_TEXT} printable characters`,
  });
const action = z.enum(AUDIT_ACTIONS, "must be an action of the trail");

const listAuditEventsInput = pageInput(
  cursor,
  z.object({
    kycId: z.string().refine(isKycId, "must be the id of a record").nullish(),
    customerId: text.nullish(),
    tokenId: z.string().regex(TOKEN_ID, "must be the id of a token").nullish(),
    actor: text.nullish(),
    action: action.nullish(),
    actionIn: z.array(action).nullish(),
    statusAfter: z
      .enum(VERIFICATION_STATUSES, `must be one of ${VERIFICATION_STATUSES.join(", ")}`)
      .nullish(),
    at: timeRange.nullish(),
  }),
);
export type ListAuditEventsInput = Raw<typeof listAuditEventsInput>;
type AuditFilter = NonNullable<z.output<typeof listAuditEventsInput>["filter"]>;

/**
 * The account's events that match the filter, newest first, paged as in `listKycs`, including events of deleted records.
 * With a filter by time alone, newest first is by the events' times, otherwise by their sequences. `after` and `before` take
 * a cursor, or the id of an event of the account. Needs `audit:read`. Fails with BAD_USER_INPUT, naming every fault; `found`
 * are those that the surface has found.
 */
export async function listAuditEvents(
  ctx: OperationContext,
  input: ListAuditEventsInput,
  found: readonly FieldFault[] = [],
): Promise<PagedList<AuditEvent>> {
  const { accountId } = requireScope(ctx.viewer, "audit:read");
  const { first, last, after, before, filter } = parseInput(listAuditEventsInput, input, found);
  const parts = await toParts(ctx, accountId, filter ?? {});
  const positions = await findPositions(ctx, accountId, { after, before }, parts.some(isSpan));
  return openList<AuditEvent, number, AuditSelection>(
    {
      select: (bounds, slice) => selectFrom(ctx, accountId, { parts, bounds }, slice),
      count: async () => {
        const counts = await Promise.all(parts.map((part) => auditList.count(ctx.db, accountId, part)));
        return counts.reduce((sum, count) => sum + count, 0);
      },
      positionOf: ({ sequence }) => sequence,
      compare: (a, b) => a - b,
      cursorOf: toAuditCursor,
    },
    { filtered: {}, first, last, ...positions },
  );
}

/**
 * The positions of the cursors. Fails with BAD_USER_INPUT for the id of an event that the account does not have, and with
 * `mustExist` for a cursor of one.
 */
async function findPositions(
  { db }: OperationContext,
  accountId: string,
  cursors: { after: string | null | undefined; before: string | null | undefined },
  mustExist: boolean,
): Promise<{ after?: number; before?: number }> {
  const positions: { after?: number; before?: number } = {};
  const faults: FieldFault[] = [];
  for (const name of ["after", "before"] as const) {
    const cursor = cursors[name];
    if (cursor == null) continue;
    const id = fromEventId(cursor);
    const sequence = id ?? (fromAuditCursor(cursor) as number);
    if ((mustExist || id !== null) && !(await hasEvent(db, accountId, sequence)))
      faults.push({ path: [name], kind: "invalid", message: NO_CURSOR });
    positions[name] = sequence;
  }
  if (faults.length > 0) throw badUserInput(faults);
  return positions;
}

/** Reads one end of each part, which is a range of an index, and merges them. */
async function selectFrom(
  { db }: OperationContext,
  accountId: string,
  { parts, bounds }: { parts: readonly AuditSelection[]; bounds: AuditSelection },
  slice: PageSlice,
): Promise<AuditEvent[]> {
  const pages = await Promise.all(
    parts.map((part) => auditList.list(db, accountId, { ...part, ...bounds }, slice)),
  );
  if (pages.length === 1) return pages[0] as AuditEvent[];
  const sign = slice.from === "newest" ? -1 : 1;
  const merged = pages.flat().sort((a, b) => sign * (a.sequence - b.sequence));
  return merged.slice(0, slice.limit);
}

/**
 * The filter as selections that share no event. A selection has one action and one actor at most: with several of them,
 * no index would have its events in their order.
 */
async function toParts(
  { db, digestCustomer }: OperationContext,
  accountId: string,
  filter: AuditFilter,
): Promise<AuditSelection[]> {
  const { kycId, customerId, tokenId, actor, statusAfter, at } = filter;
  const base: AuditSelection = {
    ...(kycId != null && { kycId }),
    ...(customerId != null && { customerDigest: digestCustomer(accountId, customerId) }),
    ...(tokenId != null && { tokenId }),
    ...(statusAfter != null && { statusAfter }),
    ...(at?.from != null && { from: at.from }),
    ...(at?.to != null && { to: at.to }),
  };
  const actors: AuditSelection[] = [{}];
  if (actor != null) {
    const named = await findTokenIds(db, accountId, actor);
    const ids = new Set(TOKEN_ID.test(actor) ? [actor, ...named] : named);
    const wanted = [...ids].filter((id) => tokenId == null || id === tokenId);
    actors.splice(0, 1, { actorName: actor }, ...wanted.map((id) => ({ tokenId: id })));
  }
  const actions = toActions(filter).map((one): AuditSelection => (one === undefined ? {} : { action: one }));
  return actors.flatMap((who) => actions.map((what) => ({ ...base, ...who, ...what })));
}

/** The actions that both filters allow; undefined for any. */
function toActions({ action, actionIn }: AuditFilter) {
  if (actionIn == null) return [action ?? undefined];
  return [...new Set(actionIn)].filter((one) => action == null || one === action);
}
