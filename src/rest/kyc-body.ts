import type { RestName } from "../kyc/fields.ts";
import { numberUnreadable, type ShownKyc } from "../kyc/show-kyc.ts";
import { type ErrorBody, renderFailure } from "./errors.ts";

export const toSeconds = (millis: number) => Math.floor(millis / 1000);

/** The record as REST shows it, with times in whole Unix seconds. */
function renderFields<Number extends string | null>(kyc: ShownKyc, number: Number) {
  return {
    id: kyc.id,
    customer_id: kyc.customerId,
    verification_status: kyc.verificationStatus,
    document_type: kyc.documentType,
    document_number: number,
    created_at: toSeconds(kyc.createdAt),
    updated_at: toSeconds(kyc.updatedAt),
  } satisfies Record<RestName, unknown>;
}

export type KycBody = ReturnType<typeof renderFields<string>>;
/** A record whose number can't be decrypted. */
type UnreadableBody = ReturnType<typeof renderFields<null>>;

/** The record, read by its id. Fails with INTERNAL if its number can't be decrypted. */
export function renderKyc(kyc: ShownKyc): KycBody {
  const number = kyc.documentNumber;
  if (number === null) throw numberUnreadable();
  return renderFields(kyc, number);
}

/** A record in a page. If its number can't be decrypted, it has an error, and the rest of the page is as usual. */
export function renderListed(kyc: ShownKyc): KycBody | (UnreadableBody & ErrorBody) {
  const number = kyc.documentNumber;
  if (number !== null) return renderFields(kyc, number);
  return { ...renderFields(kyc, null), ...renderFailure(numberUnreadable()) };
}

/**
 * A written record. A token that may not read it gets only its id and version. If the number can't be decrypted, it is null
 * without an error, because Stripe's libraries treat an `error` in any body as a failure of the request.
 */
export function renderWritten(kyc: ShownKyc): KycBody | UnreadableBody | { id: string; version: number } {
  return kyc.isReadable ? renderFields(kyc, kyc.documentNumber) : { id: kyc.id, version: kyc.version };
}
