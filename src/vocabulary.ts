/**
 * Every status that a verification can have, and what it means. Any status may follow any other. A status is added here
 * and by a migration: docs/architecture.md says how.
 */
export const STATUSES = {
  pending: "Nobody has started the verification.",
  in_review: "The verification is in progress.",
  verified: "The identity is proven.",
  failed: "The identity could not be proven.",
  expired: "The identity was proven once, and has to be proven again.",
} as const;
export type VerificationStatus = keyof typeof STATUSES;

/** Every kind of document, and what it is. One is added as a status is. */
export const DOCUMENTS = {
  passport: "A passport.",
  drivers_license: "A driver's license.",
  id_card: "A national identity card.",
  residence_permit: "A residence permit.",
  visa: "A visa.",
  other: "Any other document.",
} as const;
export type DocumentType = keyof typeof DOCUMENTS;

/** The times by which records can be listed. */
export const ORDERS = {
  created_at: "When the record was created.",
  updated_at: "When a value of the record last changed.",
  status_since: "When the record got its status.",
  expires_at:
    "When the record expires. Records that don't expire come after all others, or before them in descending order.",
} as const;
export type OrderName = keyof typeof ORDERS;

/** The two APIs of the gateway. */
export const APIS = ["graphql", "rest"] as const;
export type Api = (typeof APIS)[number];
/** The origin of an act: an API, a command of the CLI, or the gateway itself. */
export const SURFACES = [...APIS, "cli", "gateway"] as const;
export type Surface = (typeof SURFACES)[number];

/** What can be done to a record. `read` means that its document number was shown. */
export const RECORD_ACTIONS = ["created", "updated", "deleted", "read"] as const;
export type RecordAction = (typeof RECORD_ACTIONS)[number];

/** What the gateway announces about a record without changing it. A new one needs no migration. */
export const NOTICES = {
  expiring:
    "A verified record will expire soon. The subject of the event is the setting of the notice, such as `30d`.",
} as const;

/** Every act of administration, and what it is. A new one needs no migration. */
export const ADMINISTRATIVE_ACTS = {
  token_created: "A token of the account was created.",
  token_changed: "A token of the account got another scope.",
  token_revoked: "A token of the account was revoked.",
  encryption_key_added: "A new encryption key came into use.",
  encryption_key_rotated: "Everything was encrypted again with the newest encryption key.",
  encryption_key_retired: "An encryption key that nothing needs any more was removed.",
  signing_key_created: "The key that signs the log was created.",
  signing_key_rotated: "A new key signs the log from now on.",
  records_exported: "Records of the account were exported.",
  hold_placed: "A legal hold was placed on a record or a customer.",
  hold_released: "A legal hold was released.",
  customer_exported: "Everything that is held about a customer was exported.",
  customer_erased: "All records of a customer were deleted at once.",
  backup_taken: "A copy of the database was made.",
  webhook_created: "A webhook of the account was created.",
  webhook_changed: "A webhook of the account got another URL or other types of events.",
  webhook_secret_rotated: "A webhook of the account got a new secret.",
  webhook_enabled: "A webhook of the account was enabled.",
  webhook_disabled:
    "A webhook of the account was disabled: by a user, or because its receiver failed for days or answered that it wants no more events.",
  webhook_resent: "Events were sent again to a webhook of the account.",
  webhook_deleted: "A webhook of the account was deleted.",
} as const;
export type AdministrativeAction = keyof typeof ADMINISTRATIVE_ACTS;

/** The words of a table, as a list that is not empty, in the table's order. */
export function wordsOf<Word extends string>(table: Readonly<Record<Word, string>>): [Word, ...Word[]] {
  return Object.keys(table) as [Word, ...Word[]];
}

export const VERIFICATION_STATUSES = wordsOf(STATUSES);
export const DOCUMENT_TYPES = wordsOf(DOCUMENTS);
export const ORDER_NAMES = wordsOf(ORDERS);

/**
 * Why a stream of events has ended: its client left, the gateway stops, the token is no longer valid, the client read
 * nothing, or something unforeseen.
 */
export const STREAM_ENDS = ["client", "gateway", "token", "slow", "failed"] as const;
export type StreamEnd = (typeof STREAM_ENDS)[number];
export const AUDIT_ACTIONS = [
  ...RECORD_ACTIONS,
  ...wordsOf(NOTICES),
  ...wordsOf(ADMINISTRATIVE_ACTS),
] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];
