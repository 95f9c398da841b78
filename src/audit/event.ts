import type { Viewer } from "../auth/scopes.ts";
import type { OperationContext } from "../context.ts";
import type { AuditAction, DocumentType, Surface, VerificationStatus } from "../vocabulary.ts";

/**
 * One event of an account's audit trail: who did what to which records. Of a record's values it has only the status, the
 * kind of document and the version.
 */
export interface AuditEvent {
  /** In the account's log: 0, 1, 2 …, in an order that never changes. Null until it has one, soon after its commit. */
  position: number | null;
  /** Increases with each event, with gaps. Of two changes to one record, the later one has the higher sequence. */
  sequence: number;
  /** Epoch milliseconds. */
  at: number;
  tokenId: string;
  /** Its name at the time of the event. */
  tokenName: string;
  /** Who signed in, by the claim that `JWT_NAME_CLAIM` names; null if the identity provider does not say. */
  actorName: string | null;
  surface: Surface;
  requestId: string;
  action: AuditAction;
  /** The subject of an act of administration: the id of a token or key. Of `expiring`, the notice. */
  subject: string | null;
  /** The changed record, or all records whose numbers one answer showed. */
  kycIds: readonly string[];
  /** The names of the fields that an update changed; empty for other actions. */
  changedFields: readonly string[];
  statusBefore: VerificationStatus | null;
  statusAfter: VerificationStatus | null;
  /** Null if no record was created or updated, and in events of release 0.2. */
  documentTypeAfter: DocumentType | null;
  /** The record's version after that, or at a notice. */
  versionAfter: number | null;
  /** The caller's own text. It is stored only here. */
  reason: string | null;
}

/** An event that has not been written yet. */
export interface NewAuditEvent extends Omit<AuditEvent, "sequence" | "position"> {
  accountId: string;
  /** For each of `kycIds` the digest of its customer's id. */
  customerDigests: readonly Buffer[];
}

/** A record as an event names it. */
export interface EventRecord {
  id: string;
  customerId: string;
}

/** Creates the event of what the viewer does to these records with this request. */
export function newEvent(
  { surface, requestId, digestCustomer }: Pick<OperationContext, "surface" | "requestId" | "digestCustomer">,
  { accountId, tokenId, tokenName, actorName = null }: Omit<Viewer, "scopes" | "expiresAt">,
  what: Pick<AuditEvent, "at" | "action"> & { records: readonly EventRecord[] } & Partial<
      Pick<
        AuditEvent,
        "changedFields" | "statusBefore" | "statusAfter" | "documentTypeAfter" | "versionAfter"
      >
    > & {
      reason?: string | undefined;
    },
): NewAuditEvent {
  const { records, at, action } = what;
  return {
    ...{ accountId, at, tokenId, tokenName, actorName, surface, requestId, action, subject: null },
    kycIds: records.map(({ id }) => id),
    customerDigests: records.map(({ customerId }) => digestCustomer(accountId, customerId)),
    changedFields: what.changedFields ?? [],
    statusBefore: what.statusBefore ?? null,
    statusAfter: what.statusAfter ?? null,
    documentTypeAfter: what.documentTypeAfter ?? null,
    versionAfter: what.versionAfter ?? null,
    reason: what.reason ?? null,
  };
}
