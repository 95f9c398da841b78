import type { Viewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { AuditAction, Surface, VerificationStatus } from "../vocabulary.ts";

/** One event of an account's audit trail: who did what to which records. Of a record's values it has only the status. */
export interface AuditEvent {
  /** Increases with each event, with gaps. Of two changes to one record, the later one has the higher sequence. */
  sequence: number;
  /** Epoch milliseconds. */
  at: number;
  tokenId: string;
  /** Its name at the time of the event. */
  tokenName: string;
  surface: Surface;
  requestId: string;
  action: AuditAction;
  /** The changed record, or all records whose numbers one answer showed. */
  kycIds: readonly string[];
  /** The names of the fields that an update changed; empty for other actions. */
  changedFields: readonly string[];
  statusBefore: VerificationStatus | null;
  statusAfter: VerificationStatus | null;
  /** The caller's own text. It is stored only here. */
  reason: string | null;
}

/** An event that has not been written yet. */
export type NewAuditEvent = Omit<AuditEvent, "sequence"> & { accountId: string };

/** Creates the event of what the viewer does with this request. */
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
