import type { AuditEvent } from "../audit/event.ts";
import { type ListAuditEventsInput, listAuditEvents } from "../audit/list-audit-events.ts";
import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { badUserInput, type FieldFault } from "../errors.ts";
import { toKycId } from "../kyc-id.ts";
import type { PagedList } from "../paging/list.ts";
import { kycNotFound } from "./get-kyc.ts";
import { findPosition } from "./store/read.ts";

/**
 * The events of a record, newest first, also after its deletion. Needs `audit:read`. Fails with NOT_FOUND if the account
 * never had the record, and otherwise as `listAuditEvents`.
 */
export async function listKycHistory(
  ctx: OperationContext,
  id: string,
  page: Omit<ListAuditEventsInput, "filter">,
  found: readonly FieldFault[] = [],
): Promise<PagedList<AuditEvent>> {
  const { accountId } = requireScope(ctx.viewer, "audit:read");
  if (found.length > 0) throw badUserInput(found);
  const kycId = toKycId(id);
  if (!(await findPosition(ctx.db, accountId, kycId, "created_at"))) throw kycNotFound();
  return listAuditEvents(ctx, { ...page, filter: { kycId } });
}
