import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { parseInput } from "../parse-input.ts";
import { VERIFICATION_STATUSES, type VerificationStatus } from "../vocabulary.ts";
import { type CountKycsInput, countKycsInput } from "./input.ts";
import { toSelection } from "./selection.ts";
import { countByStatus, findPage } from "./store/list.ts";

/** How many records have a status. */
export interface StatusCount {
  status: VerificationStatus;
  count: number;
}

/**
 * How many of the viewer's records that match the filter have each status, in the order of the statuses, including statuses
 * without records. One statement reads all matching records. Needs `kyc:read`, and `kyc:pii` to search for a number; if reads
 * are audited, a successful search is in the audit trail. Fails with BAD_USER_INPUT, naming every fault.
 */
export async function countKycs(ctx: OperationContext, input: CountKycsInput): Promise<StatusCount[]> {
  const { accountId } = requireScope(ctx.viewer, "kyc:read");
  if (input.filter?.documentNumber != null) requireScope(ctx.viewer, "kyc:pii");
  const { filter } = parseInput(countKycsInput, input);
  const selection = toSelection(ctx, accountId, filter ?? {});
  const counts = selection && (await countByStatus(ctx.db, accountId, selection));
  const number = filter?.documentNumber;
  if (selection && ctx.reads && number != null && [...(counts?.values() ?? [])].some((count) => count > 0)) {
    const first = { from: "newest", limit: 1 } as const;
    // If no match is found within the limit of a page, any record with the number will do: the event is about the number.
    const found =
      (await findPage(ctx.db, accountId, selection, first)) ??
      (await findPage(
        ctx.db,
        accountId,
        toSelection(ctx, accountId, { documentNumber: number }) ?? {},
        first,
      ));
    for (const { id, customerId } of found ?? []) ctx.reads.confirmed.set(id, customerId);
  }
  return VERIFICATION_STATUSES.map((status) => ({ status, count: counts?.get(status) ?? 0 }));
}
