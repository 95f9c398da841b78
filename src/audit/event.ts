import type { Viewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { AuditAction, Surface, VerificationStatus } from "../vocabulary.ts";

/** One entry of an account's trail: who did what to which records. It has no value of a record but its status. */
export interface AuditEvent {
  /** Rises with each event; numbers are left out. Of one record's changes the later one has the higher. */
  sequence: number;
  /** Epoch milliseconds. */
  at: number;
  tokenId: string;
  /** As it was called when this happened. */
  tokenName: string;
  surface: Surface;
  requestId: string;
  action: AuditAction;
  /** The record that was changed, or all whose numbers one answer showed. */
  kycIds: readonly string[];
  /** What an update changed, by name; empty for every other action. */
  changedFields: readonly string[];
  statusBefore: VerificationStatus | null;
  statusAfter: VerificationStatus | null;
  /** The caller's own words: they are written here and nowhere else. */
  reason: string | null;
}

/** An event that has no place in the trail yet. */
export type NewAuditEvent = Omit<AuditEvent, "sequence"> & { accountId: string };

/** The event of what the viewer does with this request. */
export function newEvent(
  { surface, requestId }: OperationContext,
  { accountId, tokenId, tokenName }: Viewer,
  what: Pick<AuditEvent, "at" | "action" | "kycIds"> &
    Partial<Pick<AuditEvent, "changedFields" | "statusBefore" | "statusAfter">> & {
      reason?: string | undefined;
    },
): NewAuditEvent {
  return {
    accountId,
    at: what.at,
    tokenId,
    tokenName,
    surface,
    requestId,
    action: what.action,
    kycIds: what.kycIds,
    changedFields: what.changedFields ?? [],
    statusBefore: what.statusBefore ?? null,
    statusAfter: what.statusAfter ?? null,
    reason: what.reason ?? null,
  };
}
