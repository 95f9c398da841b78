import { requireScope } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import { isKycId } from "../kyc-id.ts";
import type { DocumentType, VerificationStatus } from "../vocabulary.ts";
import { findChangeAt, findOldChange, findOrigin, findStatusSince } from "./as-of-store.ts";

/** The state of a record at a time, computed from its events. Values that the events lack are null. Times are epoch milliseconds. */
export interface KycState {
  kycId: string;
  /** If so, all other values but `since` are null. */
  isDeleted: boolean;
  verificationStatus: VerificationStatus | null;
  documentType: DocumentType | null;
  version: number | null;
  /** When this version was made, or the record was deleted. */
  since: number | null;
  /** When the record got this status. */
  statusSince: number | null;
}

const UNKNOWN = {
  verificationStatus: null,
  documentType: null,
  version: null,
  since: null,
  statusSince: null,
};

/**
 * The state that the record had at `at` (epoch milliseconds), computed from its events, also if it has been deleted since.
 * Null if the account had no such record then. A record is older than its events if an early release created it: then it
 * has a state before its first event, and nothing of it is known. Needs `audit:read`.
 */
export async function kycAsOf(ctx: OperationContext, id: string, at: number): Promise<KycState | null> {
  const { accountId } = requireScope(ctx.viewer, "audit:read");
  if (!isKycId(id)) return null;
  const { db } = ctx;
  const record = { accountId, id };
  const change = await findChangeAt(db, record, at);
  if (!change) {
    const origin = await findOrigin(db, record);
    const isThere = origin && !origin.isInTrail && origin.createdAt <= at;
    return isThere ? { kycId: id, isDeleted: false, ...UNKNOWN } : null;
  }
  const { sequence, action, verificationStatus, at: since } = change;
  if (action === "deleted") return { kycId: id, isDeleted: true, ...UNKNOWN, since };
  // Events of release 0.2 have neither the kind of document nor the version, but others can say what they were.
  const old = change.version === null ? await findOldChange(db, record, sequence) : undefined;
  return {
    ...{ kycId: id, isDeleted: false, verificationStatus, since },
    documentType: change.documentType ?? old?.documentType ?? null,
    version: change.version ?? old?.version ?? null,
    statusSince: await findStatusSince(db, record, sequence),
  };
}
