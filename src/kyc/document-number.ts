import type { Keyring } from "../sealing/keyring.ts";
import type { Kyc, SealedNumber } from "./kyc.ts";

/** What is bound to a sealed number: it opens as the number of this record alone. No account's name has a space. */
const placeOf = (accountId: string, id: string) => `kycs ${accountId} ${id}`;

/** The number as the record stores it, under the newest key. */
export function sealNumber(keys: Keyring, accountId: string, id: string, number: string): SealedNumber {
  return {
    sealedNumber: keys.seal(number, placeOf(accountId, id)),
    numberDigest: keys.digest("document_number", accountId, number),
  };
}

/**
 * The record's number. Fails with a MissingKeyError if its key is not among the given ones, and with an Error without
 * values if it was sealed for another record or changed since.
 */
export function openNumber(
  keys: Keyring,
  accountId: string,
  kyc: Pick<Kyc, "id" | "sealedNumber" | "plainNumber" | "openOnce">,
): string {
  const { id, sealedNumber } = kyc;
  if (sealedNumber === null) return kyc.plainNumber as string;
  const open = () => keys.open(sealedNumber, placeOf(accountId, id));
  return kyc.openOnce ? kyc.openOnce(open) : open();
}

/** The record with its number in the clear: what says all of it without its keys, and must be sealed as a whole. */
export function toSnapshot(
  { id, customerId, verificationStatus, documentType, createdAt, updatedAt, version }: Kyc,
  number: string,
): Kyc {
  return {
    ...{ id, customerId, verificationStatus, documentType, createdAt, updatedAt, version },
    ...{ sealedNumber: null, plainNumber: number },
  };
}

/** What a record of the account has as its digest if it has this number, whichever of the keys sealed it. */
export function digestsOf(keys: Keyring, accountId: string, number: string): string[] {
  return keys.keyIds.map((keyId) => keys.digest("document_number", accountId, number, keyId));
}

/** Stands for a character that is not shown, and in no number. */
export const MASK = "•";
const SHOWN = 4;

/** Stands for a number that can't be decrypted. No number has this mask: one of four characters shows two. */
export const UNREADABLE_MASK = MASK.repeat(4);

/** The number with its last four characters, or the last half of a shorter one; the others are masked. */
export function maskNumber(number: string): string {
  const characters = [...number];
  const shown = Math.min(SHOWN, Math.floor(characters.length / 2));
  const hidden = characters.length - shown;
  return MASK.repeat(hidden) + characters.slice(hidden).join("");
}

/** The input with its number masked, where it has one. */
export function maskInput<T extends { documentNumber?: string | undefined }>(input: T): T {
  if (input.documentNumber === undefined) return input;
  return { ...input, documentNumber: maskNumber(input.documentNumber) };
}
