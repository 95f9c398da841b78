import { z } from "zod";
import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { isKycId } from "../kyc-id.ts";
import { openList, type PagedList } from "../paging/list.ts";
import { pageInput, timeRange } from "../paging/page-input.ts";
import { parseInput, type Raw } from "../parse-input.ts";
import { AUDIT_ACTIONS } from "../vocabulary.ts";
import { fromAuditCursor, toAuditCursor } from "./cursor.ts";
import type { AuditEvent } from "./event.ts";
import { type AuditSelection, auditList } from "./list-store.ts";

const cursor = z
  .string("must be a cursor")
  .refine((text) => fromAuditCursor(text) !== null, "is not a cursor of this list");

const listAuditEventsInput = pageInput(
  cursor,
  z.object({
    kycId: z.string().refine(isKycId, "must be the id of a record").nullish(),
    tokenId: z
      .string()
      .regex(/^[\w-]{1,64}$/, "must be the id of a token")
      .nullish(),
    action: z.enum(AUDIT_ACTIONS).nullish(),
    at: timeRange.nullish(),
  }),
);
type ListAuditEventsInput = Raw<typeof listAuditEventsInput>;

/**
 * The account's events that match the filter, newest first, paged as in `listKycs`, including events of deleted records.
 * Needs `audit:read`. Fails with BAD_USER_INPUT, naming every fault.
 */
export function listAuditEvents(ctx: OperationContext, input: ListAuditEventsInput): PagedList<AuditEvent> {
  const { accountId } = requireScope(ctx.viewer, "audit:read");
  const { first, last, after, before, filter } = parseInput(listAuditEventsInput, input);
  const placeOf = (text: string | null | undefined) =>
    text == null ? undefined : (fromAuditCursor(text) as number);
  const { kycId, tokenId, action, at } = filter ?? {};
  const filtered: AuditSelection = {
    ...(kycId != null && { kycId }),
    ...(tokenId != null && { tokenId }),
    ...(action != null && { action }),
    ...(at?.from != null && { from: at.from }),
    ...(at?.to != null && { to: at.to }),
  };
  return openList<AuditEvent, number, AuditSelection>(
    {
      select: (selection, stretch) => auditList.list(ctx.db, accountId, selection, stretch),
      count: (selection) => auditList.count(ctx.db, accountId, selection),
      positionOf: ({ sequence }) => sequence,
      compare: (a, b) => a - b,
      cursorOf: toAuditCursor,
    },
    { filtered, first, last, after: placeOf(after), before: placeOf(before) },
  );
}
